"""Encoders run once per clip; a content-addressed store keeps their output.

encoders/     one file per encoder; registry.py lists them by their names in `params.yaml`, base.py says what one is
store.py      the content-addressed store
transform.py  the one transform between features and model
pools.py      Ray Data's part of the stage; `stage.py` the `features` stage
"""
