"""Whether what the service is asked, and what it answers, still looks as it did: counts against counts.

exposition.py  the service's counters → a profile of answers
drift.py       two profiles → which measures have moved, with false alarms at a stated rate
labels.py      labels that came late → a profile of how often answers were right
"""
