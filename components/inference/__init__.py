"""From model outputs to answers, shared by bundles, the predictor and the stream.

scoring.py        one clip through the model: calibrated posteriors, also of each modality alone
together.py       modalities that no training clip had together are read apart
probabilities.py  scores to probabilities, and the product of experts
calibration.py    temperatures, and the weights of the ways in which a clip is read
contradiction.py  whether the modalities agree, moment by moment
semi_markov.py    posteriors over time → a smooth path, offline or causal; `durations.py` is its prior
attribution.py    which modality an episode and a transition rest on
episodes.py       a path → episodes and transitions
experts.py        pretrained classifiers, for modalities that a version has not learned
outliers.py       how far a clip lies from what the model was trained on
live.py           the steps of a stream as they come
profile.py        what the answers of a version look like, as counts
"""
