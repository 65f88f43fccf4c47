"""The stages of `dvc.yaml`, and the commands around them.

start.py       the program `mer`, which an interrupt ends in good order while it still makes its imports
cli.py         the command `mer`: errors, exit codes, list of commands
run.py         `mer run`: the whole pipeline; summary.py: what it prints; memory.py: its peak
stages.py      the stage table: what each does, how often, and which configuration values it receives
stage.py       runs a stage and records its time and outcome; inputs.py: the stage `inputs`
dag.py         `dvc.yaml` as DVC resolves it; repro.py: `dvc repro` as a child; dvc_quietly.py: its output
stage_host.py  the process that the stages of one run are forks of, so that libraries are imported once
ray_head.py    one Ray for all stages; background.py: other programs beside this one
project.py     the project folder and its configuration; edit_params.py: `--set`
code.py        whether a task runs the code of its commit; lease.py: who works in a shared project
served.py      the served version in a line
quiet.py       routine messages of libraries, silenced
commands/      the other commands, grouped by noun
kubeflow/      the same DAG on Kubernetes: the generated pipeline, schedules, Ray jobs, manifests
loop/          tasks that share no folder: Git and DVC between them
retraining/    whether to train again, and why
reproduction/  `mer reproduce`: a version trained again and compared
stack/         `make stack`: the parts of a production installation on one machine
"""
