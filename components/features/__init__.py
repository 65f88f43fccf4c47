"""Encoders run once per clip; a content-addressed store keeps their output."""
