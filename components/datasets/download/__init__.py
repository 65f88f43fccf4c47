"""Openly licensed corpora: where they are (`sources.py`), fetched whole (`fetch.py`), unpacked safely (`unpack.py`)."""
