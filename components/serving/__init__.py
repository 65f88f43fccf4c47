"""From a clip to an answer: the predictor, and the Ray Serve application around it.

predictor.py  one clip → one answer, without Ray; `clips.py` makes a clip of a file, `compatible.py` says whether a
              version can be answered with here
answers/      the answer: schemas, its parts, its sentences, its forms
http/         routes, uploads, access, limits
batch/        many clips: a folder of answers, and jobs of the service
live/         streams: steps while a person speaks
page/         the page
service.py    the state of a replica; `replica.py` is the Ray Serve deployment, `pool.py` holds what versions share,
              `metrics.py` counts
trial.py      a challenger beside the version in service; `assignment.py` names both, `published.py` shares the counts
flavor.py     `mlflow.pyfunc.load_model`
"""
