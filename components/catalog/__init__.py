"""The exact list of what a model is trained on, and its subject-disjoint splits."""
