"""Measurements: speed by `make bench` (`python -m bench --help`), and studies by commands of their own.

*.py        the benchmarks, and what they share (benchmark, pairs, report, machine, made)
service/    benchmarks of the running service
studies/    whether an answer is right, and from corpus to corpus: `python -m bench.studies.NAME`
scale.py    larger installations, simulated: `python -m bench.scale`
"""
