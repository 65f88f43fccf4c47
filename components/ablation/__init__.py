"""Variants of the model side by side, by cross-validation on unseen people.

variants.py   the variants as data
folds.py      the fold in which each person is tested
crossval.py   one training of one fold
figures.py    every row with its interval, and its difference from the default
report.py     the table and the page
stage.py      `mer ablate`, as Ray tasks
"""
