"""What an answer is, and how it is written.

schemas.py   the answer and the problem, as JSON
views.py     the parts of an answer, from what the model gave
reasons.py   what an episode or a transition rests on
words.py     scores as sentences
forms.py     tables and subtitles; `render.py` prints an answer, `plot.py` draws it
"""
