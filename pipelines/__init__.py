"""The stages of `dvc.yaml`, and the commands around them.

start.py       the program `mer`, which an interrupt ends in good order while it still makes its imports
cli.py         the command `mer`: errors, exit codes, list of commands, each declared in a `cli.py` beside its work
run.py         `mer run`: the whole pipeline, one Ray for all stages
stages.py      the stage table: what each does, how often, and which configuration values it receives
stage.py       runs a stage and records its time and outcome
dag.py         `dvc.yaml` as DVC resolves it
stage_host.py  the process that the stages of one run are forks of, so that libraries are imported once
reproduction/  `mer reproduce`: a version trained again and compared
commands/      the other commands, grouped by noun
kubeflow/      the same DAG on Kubernetes: the generated pipeline, schedules, Ray jobs, manifests
"""
