"""General machinery on which the components run: processes, Ray, checkpoints, progress, templates.

guarded.py     work in a child process under limits, so that a bad file affects no other work
fork_server.py children that start in milliseconds
cluster.py     the connection to Ray
checkpoint.py  transformers checkpoints by hub name or folder
node_folder.py what this machine has fetched to work on
threads.py     one thread for torch
weights.py     the weights that come with the environment
progress.py    bars on a terminal, lines in a log
drawing.py     the colours and the style of pictures; fonts.py: fonts for names in any script
templates.py   Jinja2 templates as text
local_http.py  services on this machine: no proxy on the way to them, and a probe
"""
