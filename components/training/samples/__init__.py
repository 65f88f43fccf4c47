"""Which clip comes when, and how it is loaded.

order.py     the order of clips: a pure function of (seed, epoch); balance.py: which are drawn how often
source.py    where features are read from; items.py: clips as tensors; windows.py: parts of long ones
loader.py    batches, made off the step's thread
prompts.py   the sentences that a model with prompts compares with
"""
