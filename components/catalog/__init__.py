"""The exact list of clips that a model is trained on, and its subject-disjoint splits.

catalog.py   the list and its hashes
splits.py    subjects to splits; assign.py: by the configuration, folds, or the corpus
examples.py  the clips with features and labels; cases.py: transformed, as training and evaluation use them
stage.py     the `catalog` stage
"""
