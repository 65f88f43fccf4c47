"""Work in child processes, so that a file that kills or occupies one affects no other work.

guarded.py      a child under limits of time and memory
fork_server.py  children that start in milliseconds
confinement.py  what a child may read, and that it does nothing else
"""
