"""The optimisation loop, and Ray Train around it.

samples/      which clip comes when, and how it is loaded
loop.py       the loop of one worker; learner.py: weights, moving average, optimiser
sharding.py   where they are: whole on each worker, or in parts; buckets.py: sums over workers meanwhile
checkpoints/  the whole state as files: written, kept, copied, read
prepare.py    what a training is made of, from the catalog
heldout.py    scores while it learns; curves.py: their plot; data_docs.py: the data's pages in the run
clock.py      where the time goes; profiling.py: a trace; compiled.py: torch.compile
job.py        one training as a value
earlier.py    the version that a training starts from; adapted.py: the encoders whose last layers learn
trainer.py    Ray Train; epochs.py: what its workers tell the process that started them
nodes/        nodes that share no folder, but an object store
stage.py      the `train` stage
"""
