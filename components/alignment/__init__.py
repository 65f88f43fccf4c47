"""Puts every clip on one clock: decode, place by timestamps, resample onto the grid, measure the quality.

align.py    one clip → one aligned clip; called by the stage and by requests
streams.py  the streams of a clip, its zero and its duration
placed_sound.py, words.py, physio.py, pictures.py, given.py  one modality each, on the clock
faces/      detection, tracks, the speaking person, the offset between lips and sound
stage.py    the `alignment` stage: a Ray Data map over the clip table
guard.py    alignment in a guarded child process
"""
