"""Commands on registered versions: judged, accepted, signed, promoted, described."""
