"""The optimisation loop, and Ray Train around it.

order.py       the order of clips: a pure function of (seed, epoch); balance.py: which are drawn how often
loop.py        the loop of one worker; learner.py: weights, moving average, optimiser
checkpoint.py  the whole state as files; checkpoints.py: when it is written, and which are kept;
               copies.py: in an object store
prepare.py     what a training is made of, from the catalog
job.py         one training as a value
earlier.py     the version that a training starts from
trainer.py     Ray Train; epochs.py: what its workers tell the process that started them
stage.py       the `train` stage
"""
