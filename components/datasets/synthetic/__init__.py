"""The renderer of the synthetic corpus.

plan.py     what a clip contains; signs.py: which sign of each modality goes with which emotion
media.py    a plan → a file
action.py   which facial muscles move when; face.py draws them
voice.py    the voice; text.py: the words; physio.py: heart, skin and breath
"""
