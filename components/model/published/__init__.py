"""The published model.

paper.py        exactly as published
paper_clips.py  its scores of windows, as those of steps and clips; windows.py: where windows lie
"""
