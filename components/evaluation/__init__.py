"""Measurement on held-out subjects.

evaluate.py    one evaluation, start to end; `fitting.py` fits what may be fitted, `gates.py` judges
metrics.py     scores; `intervals.py` their intervals by resampling people
measure.py     scores with their intervals: the content of every table; objectives.py: accuracy or balanced
abaw.py        a submission to ABAW's expression challenge
slices.py, subsets.py, disagreement.py, affect.py, failures.py, coverage.py  one topic of the report each
episodes/      flashes, moods and transitions: events counted, decoders fitted and compared
versions/      one version against another: baselines, earlier evaluations, the champion
pages/         everything as files; the report and its plots
stage.py       the `evaluate` stage
"""
