"""`mer quarantine …`: what was set aside, why, and what becomes of it."""
