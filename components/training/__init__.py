"""The optimisation loop, and Ray Train around it."""
