"""Measurements: speed by `make bench` (`python -m bench --help`), and studies by commands of their own.

training_step.py, streaming_step.py, gpu_step.py  a step of the model
stages.py, stored_features.py, rerun.py, memory.py  the pipeline
training/   what a training costs beside its steps
service/    the running service
studies/    what a model learns and an answer rests on: `python -m bench.studies.NAME`
scale.py    larger installations, simulated: `python -m bench.scale`
catalog.py  time and memory of the list of clips: `python -m bench.catalog CLIPS...`

registry.py lists the benchmarks. benchmark.py, pairs.py, report.py, machine.py, made.py and published_encoders.py are
what they share.
"""
