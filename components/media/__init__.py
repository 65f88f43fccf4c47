"""Reading one media file, from a disk or an upload: checked, scanned and decoded streams, each on its own clock.

probe.py        is this file media at all?
reader.py       headers and timestamps, read in guarded children
source.py       opening a file under limits
tracks.py       the tracks of a file, and which of them is used
scan.py         the first pass: the sound, and when each picture is shown
chosen.py       the first pass over the track that shows or says something
frames.py       the second pass: the pictures that steps need
images.py       picture files: photographs and animations
span.py         a stretch of a longer recording
chained.py      files of Ogg or Matroska put end to end
timeline.py     one clock for a file whose clock starts again
presented.py    pictures whose packets tell only when they are decoded
sound.py        samples at the times of their timestamps
jitter.py       timestamps of sound that jump to and fro
channels.py     one channel out of several
upright.py      pictures as a player shows them
clock.py        zero, duration, and the frame of each step
pieces.py       what a live stream sends, piece by piece
received.py     a part of a live stream as a file
numbered.py     folders of numbered pictures
frame_clock.py  when each frame of a video is shown
"""
