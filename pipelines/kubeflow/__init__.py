"""The pipeline on Kubernetes.

generate.py   makes it from `dvc.yaml`; settings.py: how its tasks run (`infra/kubeflow.yaml`)
task.py       the work of its tasks, by the commands of task_cli.py; bodies.py: what KFP sends to the cluster
report.py     its last task, however it ended
ray_job.py    a stage as a job of a Ray cluster, found again by a retry, stopped with its task
rayjob.py     `mer rayjob`: a KubeRay RayJob of the pipeline or a stage; kustomize.py renders `infra/` for it
schedules.py  `infra/schedules.yaml`; recurring.py makes a server have it; schedule.py: `mer schedule`
server.py     a Kubeflow Pipelines server and who calls it; place.py: the calls that schedules need
cli.py        arguments and help
"""
