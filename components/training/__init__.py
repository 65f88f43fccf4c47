"""The optimisation loop, and Ray Train around it.

order.py       the order of clips: a pure function of (seed, epoch)
loop.py        the loop of one worker; learner.py: weights, moving average, optimiser
checkpoint.py  the whole state as files; job.py: one training as a value
trainer.py     Ray Train
stage.py       the `train` stage
"""
