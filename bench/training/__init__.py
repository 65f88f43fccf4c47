"""What a training costs beside its steps.

workers.py       two workers against one; overlap.py: how they add up a large gradient
corpus_size.py   more clips: what one costs, and what a worker holds in memory
evaluation_size.py  the same of `evaluate`
checkpoint.py    the share of checkpoints
logged.py        the share of logging
kill.py          from the kill of a worker to the next step
object_store.py  features in an object store against the local disk
made.py          a catalog on disk, and clips in memory, of the sizes of the default encoders
"""
