"""What stands between a client and the predictor.

app.py       the routes; `about.py` describes the versions
gateway.py   what every request passes before: `observed.py` (ids, log), `access.py` (`api_keys.py`) and `body.py`
uploads.py   a clip as it is posted; `feature_body.py` reads features, in a process of its own (`feature_guard.py`)
batches.py   many clips in one request
admission.py bounds what waits
problems.py  errors as responses
mirror.py    clips for a challenger on trial, after the answer
"""
