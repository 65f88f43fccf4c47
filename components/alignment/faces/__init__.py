"""Whose face.

video.py      the face of every step of a video
detection.py  faces in a picture (mtcnn.py); small.py: a finer look where it finds none
tracks.py     faces over time
speaker.py    who speaks; lips.py: how lips move
face.py       one face through a clip; crop.py: its crop; fit.py: where a picture lies on the clip's canvas
av_offset.py  how far lips and sound are apart; envelope.py: the loudness that lips are compared with
"""
