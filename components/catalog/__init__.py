"""The exact list of clips that a model is trained on, and its subject-disjoint splits."""
