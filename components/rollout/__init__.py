"""Makes the served version follow the alias in the registry."""
