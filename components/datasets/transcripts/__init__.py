"""Transcripts in the formats that people and recognisers write, as words and lines with their times.

read.py       any format; spoken.py: what a parser returns
subtitles.py  SubRip and WebVTT
textgrid.py   Praat
recognisers.py  the JSON of speech recognisers
"""
