"""`make stack`: the parts of a production installation as processes of this machine, and the main job against them.

run.py        starts the parts, does the work, ends them
parts.py      the parts; postgres.py, mlflow.py, ray_nodes.py and prometheus.py are those with files of their own
place.py      folders, ports and secrets of one stack
project.py    the project that the main job runs in
"""
