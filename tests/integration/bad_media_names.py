"""Names that are hard to hold: each of a valid recording, which is used under exactly that name or refused for it."""

from __future__ import annotations

import os

from tests.alignment.containers import valid
from tests.integration.bad_media import PLACE, bytes_of, refused, used

WAV = valid(".wav")

for name in (
    "with spaces  and\ttabs .wav",
    "line\nbreak.wav",
    "日本語 Größe ñ.wav",
    "a\u0308 in two signs.wav",
    "\u00e4 in one sign.wav",
    "👩\u200d🎤 sings.wav",
    "right\u202eto left.wav",
    "quote'\"`$(touch pwned);.wav",
    "percent%03d%s{x}.wav",
    "back\\slash.wav",
    "-rf.wav",
    "concat:a|b.wav",
    "http:host.wav",
    "pipe:0.wav",
    "x" * 251 + ".wav",
    ".wav.wav",
    "...wav",
    "UPPER.WAV",
):
    used(name)(bytes_of(WAV))
refused(f"{PLACE}/" + os.fsdecode(b"Gr\xf6\xdfe.wav"), "bad-name", stage="datasets")(bytes_of(WAV))
refused("anger/" + os.fsdecode(b"M\xe4rz") + "/march.wav", "bad-name", stage="datasets")(bytes_of(WAV))
used(f"anger/{'deep/' * 60}down.wav")(bytes_of(WAV))
refused("joyfull/someone/label.wav", "unknown-emotion", stage="datasets")(bytes_of(WAV))
refused("./alone.wav", "clip-without-label", stage="datasets")(bytes_of(WAV))
