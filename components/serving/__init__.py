"""From a clip to an answer: the predictor, and the Ray Serve application around it.

predictor.py  one clip → one answer, without Ray
schemas.py    the answer and the problem, as JSON; `words.py` and `reasons.py` have their sentences, `render.py`
              prints an answer
app.py        the HTTP routes; `uploads.py` and `feature_body.py` read bodies under limits, `about.py` describes the
              versions; `page/` is the page
gateway.py    what every request passes before: `observed.py` (ids, `metrics.py`, log), `access.py` (`api_keys.py`) and
              `body.py`
live/         streams: steps while a person speaks
service.py    the state of a replica; `replica.py` is the Ray Serve deployment, `pool.py` holds what versions share
flavor.py     `mlflow.pyfunc.load_model`
"""
