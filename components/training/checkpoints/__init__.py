"""The whole state of a training as files.

state.py    one checkpoint: written at once or not at all, checked when read
keeper.py   when one is written, and which are kept
copies.py   copies in an object store
"""
