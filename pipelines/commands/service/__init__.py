"""`mer serve`, `mer reconcile` and `mer keys`.

serve.py          starts the parts; supervise.py watches them; janitor.py removes what they leave; signals.py ends them
mlflow_server.py  one of the parts
reconciling.py    the loop between registry and service; woken.py wakes it
shown.py          what is printed
keys.py           API keys
"""
