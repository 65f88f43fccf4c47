"""Data contracts: Great Expectations suites, quarantine, Data Docs.

suites.py      the expectations on each table; expectation.py: one of them as plain data
judge.py       one dataset, table by table
drift.py       the distance from the state that a person accepted; profile.py: that state
checkpoint.py  the edge to Great Expectations
stage.py       the `validation` stage
"""
