"""`mer config`: the settings, what they are at present, and what they mean."""
