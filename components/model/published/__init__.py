"""The published model, and the windows that it reads clips by."""
