"""Names that are hard to hold: each of a valid recording, which is used under that name in one spelling or refused for
it; hidden files are not clips."""

from __future__ import annotations

import os

from tests.alignment.containers import valid
from tests.integration.bad_media import PLACE, bytes_of, hidden, refused, used

WAV = valid(".wav")

for name in (
    "日本語 Größe ñ.wav",
    "\u00e4 in one sign.wav",
    "quote'\"`$(touch pwned);.wav",
    "percent%03d%s{x}.wav",
    "back\\slash.wav",
    "-rf.wav",
    "concat:a|b.wav",
    "http:host.wav",
    "pipe:0.wav",
    "x" * 251 + ".wav",
    "UPPER.WAV",
):
    used(name)(bytes_of(WAV))
for name, spelled in (
    ("with spaces  and\ttabs .wav", "with spaces and tabs .wav"),
    ("line\nbreak.wav", "line break.wav"),
    ("a\u0308 in two signs.wav", "\u00e4 in two signs.wav"),
    ("👩\u200d🎤 sings.wav", "👩🎤 sings.wav"),
    ("right\u202eto left.wav", "rightto left.wav"),
):
    used(name, clip=spelled)(bytes_of(WAV))
for name in (".wav.wav", "...wav"):
    hidden(name)(bytes_of(WAV))
refused(f"{PLACE}/" + os.fsdecode(b"Gr\xf6\xdfe.wav"), "bad-name", stage="datasets")(bytes_of(WAV))
refused("anger/" + os.fsdecode(b"M\xe4rz") + "/march.wav", "bad-name", stage="datasets")(bytes_of(WAV))
used(f"anger/{'deep/' * 60}down.wav")(bytes_of(WAV))
refused("joyfull/someone/label.wav", "unknown-emotion", stage="datasets")(bytes_of(WAV))
refused("./alone.wav", "clip-without-label", stage="datasets")(bytes_of(WAV))
