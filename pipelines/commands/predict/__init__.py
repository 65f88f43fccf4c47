"""`mer predict`: `command.py` answers for some clips, `folder.py` for very many, `live.py` as a stream."""
