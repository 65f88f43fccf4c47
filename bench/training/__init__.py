"""What a training costs beside its steps: more clips or workers, checkpoints, a lost worker, an object store.

made.py  a catalog on disk, and clips in memory, of the sizes of the default encoders
"""
