"""Variants of the model side by side, by cross-validation on people they never saw.

variants.py   what is compared
folds.py      who is tested when
crossval.py   one training of one fold
figures.py    every row with its interval, and its difference from the default
report.py     the table and the page
stage.py      `mer ablate`, as Ray tasks
"""
