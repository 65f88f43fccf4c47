"""`mer datasets …`: list, describe, check, add, download, preview."""
