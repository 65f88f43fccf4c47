"""Corpora: one adapter a file; each turns a layout on disk into a clip table."""
