"""The renderer of the synthetic corpus: a plan per clip (`plan.py`), and a face, a voice, words and a heart for it."""
