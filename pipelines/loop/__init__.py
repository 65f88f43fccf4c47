"""Stages without a shared folder: each in a clone of its own, with Git and DVC between them.

run.py      a run as tasks: begin, a stage, finish
clone.py    the clone of one task
lock.py     `dvc.lock` in parts
storage.py  outputs from and to the DVC remote
"""
