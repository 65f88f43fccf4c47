"""Variants of the model side by side, by cross-validation on unseen people.

variants.py   the variants as data
folds.py      the fold in which each person is tested
crossval.py   one training of one fold
figures.py    every row with its interval, and its difference from the default
answering.py  the calibration and the answers of one training; answers.py: those answers as a file
rows.py       the rows of the table; pooled.py: the answers of all folds together
forest.py     the plot of the differences
transfer.py   from dataset to dataset; heatmap.py: its picture
report.py     the table and the page
stage.py      `mer ablate`, as Ray tasks
"""
