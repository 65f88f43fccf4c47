"""The optimisation loop, and Ray Train and MLflow around it."""
