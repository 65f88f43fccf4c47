"""Machinery without a subject of its own, on which the components run.

guarded.py     work in a child process under limits, so that a bad file costs itself and nothing else
cluster.py     the connection to Ray
checkpoint.py  transformers checkpoints by hub name or folder
weights.py     the weights that come with the environment
progress.py    bars on a terminal, lines in a log
templates.py   jinja2 templates as text
local_http.py  whether a service of this machine answers
"""
