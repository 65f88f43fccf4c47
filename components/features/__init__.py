"""Encoders run once a clip; a content-addressed store keeps what they said."""
