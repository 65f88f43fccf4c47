"""The pipeline's components, in the order in which data flows through them."""
