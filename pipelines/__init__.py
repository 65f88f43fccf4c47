"""The stages of `dvc.yaml`, and everything that a person runs around them.

cli.py      the command `mer`: its errors, exit codes and list of commands, each declared in a `cli.py` beside its work
run.py      `mer run`: the whole pipeline, one Ray for all stages
stages.py   the stage table: what each does, how often, and what it is handed of the configuration
stage.py    runs a stage and notes how it went
dag.py      `dvc.yaml` as DVC resolves it
commands/   the other commands, grouped by noun
kubeflow/   the same DAG on Kubernetes: the generated pipeline, schedules, Ray jobs, manifests
"""
