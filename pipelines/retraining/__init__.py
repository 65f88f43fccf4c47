"""Whether to train again, why, and what is recorded of it.

gather.py   the facts; changes.py: those that DVC knows
decide.py   a pure function: facts → a decision, each cause with its evidence
record.py   the decision in MLflow
"""
