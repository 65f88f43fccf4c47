"""Reading one media file, from a disk or an upload: checked, scanned and decoded streams, each on its own clock.

probe.py        is this file media at all?
reader.py       headers and timestamps, read in guarded children
source.py       opening a file under limits
tracks.py       the tracks of a file, and which of them is used
scan.py         the first pass: the sound, and when each picture is shown
chosen.py       the first pass over the track that shows or says something
frames.py       the second pass: the pictures that steps need
film.py         a few small pictures of a file, to look at
images.py       picture files: photographs and animations
span.py         a stretch of a longer recording
clocks/         when something is shown or heard, where a file says it badly
sound.py        samples at the times of their timestamps
channels.py     one channel out of several
upright.py      pictures as a player shows them
pieces.py       what a live stream sends, piece by piece
received.py     a part of a live stream as a file
numbered.py     folders of numbered pictures
"""
