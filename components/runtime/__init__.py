"""General machinery on which the components run: processes, Ray, checkpoints, progress, templates.

children/      work in child processes under limits, so that a bad file affects no other work
pages/         what pages and pictures have in common: templates, colours, fonts
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
local_http.py  services on this machine: no proxy on the way to them, and a probe
"""
