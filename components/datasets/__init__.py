"""Corpora: each turns a layout on disk into a clip table.

corpora/    one adapter per corpus; `registry.py` lists them, `base.py` defines what an adapter is
synthetic/  the renderer of the synthetic corpus
download/   fetching and unpacking openly licensed corpora
stage.py    the `datasets` stage; `check.py` is its dry run
"""
