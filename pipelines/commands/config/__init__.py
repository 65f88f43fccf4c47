"""`mer config`: the settings, their present values, and what they mean.

cli.py       arguments and help
command.py   tables, a block, or JSON
settings.py  every key as a record
"""
