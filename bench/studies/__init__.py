"""Studies of what a model learns and an answer rests on, each a command: `python -m bench.studies.NAME`.

adapted_encoder.py what it is worth that an encoder's last layers learn
few_people.py      what an earlier version's weights are worth where few people are there to learn from
transfer_probe.py  how far clip features carry over from corpus to corpus
unions.py          whether a union of corpora harms one of them
which_modality.py  whether an answer names the modality that turned first
"""
