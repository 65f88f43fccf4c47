"""Makes the served version follow the alias in the registry.

decide.py         a pure function: target and served version → the next action and its reason
reconcile.py      the loop that reads, decides and acts
actual.py         the served application, read from Ray Serve
serve_control.py  deploys a version by configuration
trial.py          a pure function: what a challenger on trial may do beside the version in service
webhook.py        receives MLflow's webhook, which wakes the loop; webhook_server.py listens
versions.py       the versions of the registry as the decision reads them, and the tags written back
figures.py        gauges for Prometheus; parts.py: the processes that Ray Serve runs
"""
