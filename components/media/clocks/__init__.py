"""When something is shown or heard, where a file says it badly.

clock.py        zero, duration, and the frame of each step
timeline.py     one clock for a file whose clock starts again
chained.py      files of Ogg or Matroska put end to end
presented.py    pictures whose packets tell only when they are decoded
frame_clock.py  when each frame of a video is shown
jitter.py       timestamps of sound that jump to and fro
"""
