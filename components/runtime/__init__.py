"""General machinery on which the components run: processes, Ray, checkpoints, progress, templates.

guarded.py     work in a child process under limits, so that a bad file affects no other work
fork_server.py children that start in milliseconds
confinement.py what such a child may read, and that it does nothing else
together.py    what threads ask for at the same time, done together
alone.py       one process at a time in a folder; own_folder.py: temporary files of one process
stream.py      the stages on Ray Data
on_demand.py   a sequence that takes no memory; spilled.py: a list on disk
memory.py      memory given back; patience.py: how long a caller waits; dropped.py: misleading lines of libraries
cluster.py     the connection to Ray
checkpoint.py  transformers checkpoints by hub name or folder
node_folder.py what this machine has fetched to work on; disk_cache.py: of that, at most so many bytes
spared.py      imports that a start does without
transformer_layer.py  a layer that encoders and the model have
threads.py     one thread for torch
weights.py     the weights that come with the environment
progress.py    bars on a terminal, lines in a log
drawing.py     the colours and the style of pictures; fonts.py: fonts for names in any script
templates.py   Jinja2 templates as text
local_http.py  services on this machine: no proxy on the way to them, and a probe
"""
