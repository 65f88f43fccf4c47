"""`mer withdraw`: a person withdraws their consent.

cli.py       arguments and help
withdraw.py  the command
trace.py     where the project's files name the person
forget.py    removes them from there
"""
