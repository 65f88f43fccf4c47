"""A training on nodes that share no folder but an object store (`runtime.store`).

materials.py  what its workers read: put there once, committed by one manifest, brought to each node
place.py      its state: progress, and where Ray keeps its own
"""
