"""Episodes against the truth.

events.py      events are counted
decoders.py    decoders fitted and compared
thresholds.py  the baselines that smoothing must beat
"""
