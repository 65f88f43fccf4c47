"""Whether to train again, why, and what is recorded of it."""
