"""Definitions that all components share.

config/         `params.yaml` as typed sections; every setting with its meaning
records.py      the rows between components, and their Arrow schemas
labels.py       emotion names and taxonomies
timebase.py     seconds, grids, intervals
errors.py       the tree of errors; codes.py: their codes
layout.py       where each stage writes; atomic.py: write beside, then rename; room.py: a full disk in one error;
                rights.py: a file that this user may not open
lineage.py      commit and hashes behind a model; requirements.py: the packages that it needs
versions.py     the declared version of each stage
fingerprint.py  hashes of files and values
presets.py      named defaults of `model` and `train`
pretrained.py   a classifier that comes with an encoder
splits.py       the names of splits
columns.py      tables of clips as columns
bundle_files.py the files of a bundle, verified
findings.py     what an evaluation found, in words
readmitted.py   decisions about clips in quarantine
"""
