"""The exact list of clips that a model is trained on, and its subject-disjoint splits.

catalog.py   the list and its hashes
splits.py    subjects to splits; assign.py: by the configuration, folds, or the corpus
examples.py  the clips with features and labels; cases.py: transformed, as training and evaluation use them;
             case_labels.py: what is known of them without features
rows.py      the rows of the list, as columns; clips.py: what splits are made of, a few numbers per clip
packed.py    the clips in one file, for corpora that memory does not hold
suites.py    the expectations on the splits; texts.py: texts that two splits share
stage.py     the `catalog` stage
"""
