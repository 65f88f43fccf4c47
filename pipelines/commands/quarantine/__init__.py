"""`mer quarantine …`: what was set aside, why, and what becomes of it.

cli.py      arguments and help
listing.py  `list` and `show`
readmit.py  `readmit`
"""
