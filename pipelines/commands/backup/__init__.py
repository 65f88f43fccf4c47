"""`mer backup` and `mer restore`: MLflow's database and the stores, copied and put back.

cli.py      arguments and help
command.py  the work
"""
