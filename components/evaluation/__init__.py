"""Measurement on held-out subjects.

evaluate.py    one evaluation, start to end; `fitting.py` fits what may be fitted, `gates.py` judges
metrics.py     scores; `intervals.py` their intervals by resampling people
slices.py, subsets.py, events.py, disagreement.py, affect.py, failures.py  one topic of the report each
write.py       everything as files; `report.py` and `plots.py` for people
stage.py       the `evaluate` stage
"""
