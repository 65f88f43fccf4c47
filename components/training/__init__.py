"""The optimisation loop, and Ray Train around it.

samples/      which clip comes when, and how it is loaded
loop.py       the loop of one worker; learner.py: weights, moving average, optimiser
checkpoints/  the whole state as files: written, kept, copied, read
prepare.py    what a training is made of, from the catalog
job.py        one training as a value
earlier.py    the version that a training starts from
trainer.py    Ray Train; epochs.py: what its workers tell the process that started them
nodes/        nodes that share no folder, but an object store
stage.py      the `train` stage
"""
