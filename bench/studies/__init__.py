"""Studies of what a model learns and an answer rests on, each a command: `python -m bench.studies.NAME`."""
