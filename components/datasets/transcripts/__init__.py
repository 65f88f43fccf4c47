"""Transcripts in the formats that people and recognisers write, as words and lines with their times."""
