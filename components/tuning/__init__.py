"""A search for better settings of `model` and `train`, judged on the calibration split.

space.py    which settings, and where to look
trial.py    one training with some of their values
journal.py  what came out so far, on disk and in MLflow
search.py   Ray Tune, with Optuna's proposals and ASHA's early stopping: the only file here that imports Ray
"""
