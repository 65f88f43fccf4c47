"""Stages without a shared folder: each in a clone of its own, with Git and DVC between them."""
