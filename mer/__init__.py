"""Emotion over time from face, voice and words.

    import mer

    answer = mer.predict("my.mp4")
    answer.emotion, answer.confidence      # of the whole clip
    answer.to_pandas()                     # one row per moment
    answer.plot()                          # the clip over time

The answer is the one that the command `mer predict` and the service give. `load` keeps a version for many clips:

    model = mer.load()                     # or a version, an alias, a bundle's folder
    answers = [model.predict(path) for path in paths]

`mer.client` (client.py) gives the same answers from a service, and model.py holds `load` and `predict`.
Everything else is in `components/`, which may change from version to version; the names here stay.
"""

from components.contracts.errors import MerError
from components.serving.answers.schemas import Answer
from mer.model import Model, load, predict

__all__ = ["Answer", "MerError", "Model", "load", "predict"]
