"""Encoders run once per clip; a content-addressed store keeps their output.

encoders/     one file per encoder; listed by name in registry.py; base.py is the interface
classification.py  the emotions that a published checkpoint's own head tells apart
store.py      the content-addressed store
transform.py  the one transform between features and model; recordings.py: the statistics of some recordings among all
pools.py      Ray Data's part of the stage; `stage.py` the `features` stage
"""
