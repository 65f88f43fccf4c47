"""What stands between a client and the predictor.

app.py       the routes, with `descriptions.py` (`about.py`), `documented.py` for OpenAPI and `whole_page.py`
gateway.py   what every request passes before: `observed.py` (ids, log), `access.py` (`api_keys.py`) and `body.py`
uploads.py   a clip as it is posted; `feature_body.py` reads features, in a process of its own (`feature_guard.py`)
batches.py   many clips in one request
admission.py bounds what waits
problems.py  errors as responses; `refusals.py` catches them
mirror.py    clips for a challenger on trial, after the answer
"""
