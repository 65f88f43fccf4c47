"""Encoders run once per clip; a content-addressed store keeps their output.

registry.py   every encoder by its name in `params.yaml`; one file each; base.py says what an encoder is
store.py      the content-addressed store
transform.py  the one transform between features and model
pools.py      Ray Data's part of the stage; `stage.py` the `features` stage
"""
