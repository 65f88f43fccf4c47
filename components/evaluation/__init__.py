"""Measurement on held-out subjects: metrics with intervals, calibration, episodes, gates."""
