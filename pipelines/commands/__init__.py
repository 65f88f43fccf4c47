"""What `mer` offers beside the stages: one module per command, or one package per noun.

cli modules   pipeline_cli.py, service_cli.py, and a cli.py in some packages: arguments and help, no work
the data      datasets/, quarantine/, withdrawal/, accept.py: the baseline that data are compared with
training      ablate.py, tune.py, retrain.py, config/, describe.py
versions      versions/, backup/
answers       predict/, service/, adapt.py, drift.py, abaw.py
table.py      tables of text
"""
