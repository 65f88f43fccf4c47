"""The version that comes with this code: `bundle/` holds it, README.md says what it is and how it was made."""
