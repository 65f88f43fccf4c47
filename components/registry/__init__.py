"""The model bundle (safetensors + JSON) and its registration in MLflow.

bundle.py      everything a served model needs, as data in one folder
goldens.py     a few inputs and the outputs they must give; `golden_clip.py`: the same for a drawn media file
register.py    a bundle as a registered version with its gate tags
model_card.py  the description of a version; `terms.py`: licence and consent of its clips
proof.py       a signed statement about a bundle; `keys.py`: where keys come from; `trust.py`: what may be used
fetch.py       from the registry to a verified folder on this machine
subjects.py, marking.py  the people in the data of a version, and marks for those who withdrew
evidence.py    gates, data contracts and people of a version as tags
earlier.py     the earlier versions that the configuration names
starter.py     the version that comes with the code
stage.py       the `register` stage
"""
