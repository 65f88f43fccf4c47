"""Episodes against the truth: events are counted (`events.py`), decoders fitted and compared (`decoders.py`)."""
