"""One file per encoder, and the networks and measures that they share.

face    fer.py (fer_net.py), hog.py, transformers_face.py; crops as pixels: faces.py
voice   whisper_tiny.py (whisper_net.py, ct2_reader.py), signal.py (pitch.py), transformers_voice.py; audio.py and
        log_mel.py are shared
text    minilm.py (bert_net.py), hashing.py, transformers_text.py; utterances.py
physio  physio_signal.py (heart.py)
any     given.py: features that a corpus brings ready-made
"""
