"""One adapter per corpus: its layout, its labels, its licence."""
