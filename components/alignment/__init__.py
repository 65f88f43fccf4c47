"""Puts every clip on one clock: decode, place by timestamps, resample onto the grid, measure the quality.

align.py    one clip → one aligned clip; called by the stage and by requests
streams.py  the streams of a clip, its zero and its duration
placed_sound.py, words.py, physio.py, pictures.py, given.py  one modality each, on the clock
faces/      detection, tracks, the speaking person, the offset between lips and sound
stage.py    the `alignment` stage: a Ray Data map over the clip table
guard.py    alignment in a guarded child process
said.py     words that were sent with a clip; tokens.py: words in any language; recogniser.py: Whisper, where none came
vad.py      when somebody speaks
quality.py  figures, notes and a gate
outcome.py  a clip aligned or set aside; refused.py: remembered, so that a broken file is not decoded again
partial.py  what was done so far; chunks.py: the work in parts; lent.py: media for actors without the project's folder
shards.py   the result as Parquet
fingerprint.py  what an alignment depends on, as a hash
"""
