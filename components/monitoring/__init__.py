"""Watches what is served against what was trained on."""
