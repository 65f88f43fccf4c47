"""What every component agrees on: configuration, records, labels, time, errors and fingerprints."""
