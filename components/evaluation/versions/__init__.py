"""One version against another.

comparison.py  beside baselines, and itself with fewer modalities
earlier.py     beside an earlier version, on the same test clips
against.py     against the champion, on the same people
"""
