"""Data contracts: Great Expectations suites, quarantine, Data Docs.

suites.py      the expectations on each table; expectation.py: one of them as plain data
judge.py       one dataset, table by table
drift.py       the distance from the state that a person accepted; profile.py: that state
upstream.py    what the stages before wrote; tables.py: as the tables that are judged; structure.py: columns and types
measure.py     figures of stored features
accepted.py    the clips that pass; quarantine.py: those that do not
docs.py        the Data Docs; pages.py: their HTML
checkpoint.py  the edge to Great Expectations
stage.py       the `validation` stage
"""
