"""One clock per clip: decode, place by timestamps, resample onto the grid, judge the quality.

align.py    one clip in, one aligned clip out; the stage and a request both call it
faces/      detection, tracks, who speaks, how far lips and sound are apart
stage.py    the `alignment` stage: a Ray Data map over the clip table
guard.py    alignment in a guarded child process
"""
