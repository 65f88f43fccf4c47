"""The only package that talks to MLflow; nothing outside it imports `mlflow`.

address.py    where the store is
artifacts.py  files of a project's own store, which moves with the project
client.py     the one client of it, whose errors are the project's (`errors.py`)
last_answer.py what a server that goes on failing says of it
runs.py       a run: opened, found by its model, written to
spool.py      the records of a training's run on disk, and how many of them MLflow has
spooled.py    the run of a training, which MLflow may miss for a while
origin.py     what a training was made from, to do it again
publish.py    an evaluation in the run of its training
versions.py   registered versions: read, tags, aliases, files
file_store.py one version, read from a store that is a file without MLflow
packaging.py  the folder that MLflow loads a version from
names.py      nested values under flat names that MLflow takes
login.py      MLflow's login, and who moved an alias
webhooks.py   what tells of an alias that moved
"""
