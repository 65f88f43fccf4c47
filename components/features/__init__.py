"""Encoders run once per clip; a content-addressed store keeps their output.

encoders/     one file per encoder; listed by name in registry.py; base.py is the interface
classification.py  the emotions that a published checkpoint's own head tells apart
languages.py  the language of words, and whether an encoder knows it
store.py      the content-addressed store
transform.py  the one transform between features and model; recordings.py: the statistics of some recordings among all
encode.py     a few clips with every encoder; guard.py: in a guarded process; warm.py: before the first request
adaptation.py the statistics of somebody's own recordings, as a file
remote_store.py  shards in an object store
work.py       what is still to be encoded; failures.py: what could not be
pools.py      Ray Data's part of the stage; pieces.py: what actors write; passing.py: what they pass on
stage.py      the `features` stage
"""
