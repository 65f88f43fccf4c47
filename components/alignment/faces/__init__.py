"""Whose face: detection (`mtcnn.py`), tracks, the speaker by the lips, the crop, and the offset of lips and sound."""
