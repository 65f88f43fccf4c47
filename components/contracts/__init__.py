"""What every component agrees on: configuration, records, labels, time, layout, errors and fingerprints."""
