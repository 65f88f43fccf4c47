"""The stages of `dvc.yaml`, and everything that a person runs around them.

cli.py      the command `mer`
run.py      `mer run`: the whole line, one Ray for all stages
stage.py    what every stage command shares
dag.py      `dvc.yaml` as DVC resolves it
commands/   the other commands, grouped by noun
kubeflow/   the same DAG on Kubernetes: the generated pipeline, schedules, Ray jobs, manifests
"""
