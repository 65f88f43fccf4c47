"""Corpora: each turns a layout on disk into a clip table.

corpora/    one adapter per corpus; `registry.py` lists them, `base.py` defines what an adapter is
synthetic/  the renderer of the synthetic corpus
download/   fetching and unpacking openly licensed corpora
about.py    facts about a corpus that its files do not contain
names.py    one spelling per name; pairing.py: labels with media; sequences.py: utterances of one recording
stills.py   photographs among recordings; litter.py: what systems leave in folders; unused.py: what no clip uses
content.py  hashes, kept between runs
given.py    ready-made features; given_check.py: at the boundary
transcripts/  what was said, in every known format
remote.py   a corpus in an object store; staged.py: what the actors of a stage hand over
table.py    label tables, row by row
withdrawn.py  people who withdrew their consent
stage.py    the `datasets` stage; `check.py` is its dry run
"""
