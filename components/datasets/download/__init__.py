"""Download of openly licensed corpora: addresses (`sources.py`), fetching (`fetch.py`) and unpacking (`unpack.py`)."""
