"""Definitions that all components share: configuration, records, labels, time, layout, errors and fingerprints."""
