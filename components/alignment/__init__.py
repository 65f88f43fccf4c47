"""Puts every clip on one clock: decode, place by timestamps, resample onto the grid, measure the quality.

align.py    one clip → one aligned clip; called by the stage and by requests
faces/      detection, tracks, the speaking person, the offset between lips and sound
stage.py    the `alignment` stage: a Ray Data map over the clip table
guard.py    alignment in a guarded child process
"""
