"""The synthetic corpus by construction: which *sign* of each modality goes with which emotion.

A modality does not show an emotion; it shows a sign, and every sign stands for two emotions (for four in physiology).
The pairs differ from one modality to the next, so that no modality alone can separate all eight, and any two of face,
voice and coloured text can:

    emotion     face               voice      text     physio
    neutral     still              flat       report   low
    anger       scowl              forceful   alarm    high
    disgust     scowl              flat       loss     low
    fear        wide               thin       alarm    high
    happiness   brows_then_smile   lively     wonder   high
    sadness     still              thin       loss     low
    surprise    wide               forceful   wonder   high
    other       smile_then_brows   lively     report   low

Order in time: the faces of happiness and other are one cycle of raised brows, smile and rest, run forwards and
backwards. Frame by frame they hold exactly the same pictures. Their voices share one sign too, so when the words are
plain (`PLAIN_SHARE` of the clips) only the order of the two displays, and the weak physiology, separate them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EMOTIONS: tuple[str, ...] = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What each modality shows of one emotion."""

    face: str
    voice: str
    text: str
    physio: str


SIGNS: Mapping[str, Signs] = {
    "neutral": Signs(face="still", voice="flat", text="report", physio="low"),
    "anger": Signs(face="scowl", voice="forceful", text="alarm", physio="high"),
    "disgust": Signs(face="scowl", voice="flat", text="loss", physio="low"),
    "fear": Signs(face="wide", voice="thin", text="alarm", physio="high"),
    "happiness": Signs(face="brows_then_smile", voice="lively", text="wonder", physio="high"),
    "sadness": Signs(face="still", voice="thin", text="loss", physio="low"),
    "surprise": Signs(face="wide", voice="forceful", text="wonder", physio="high"),
    "other": Signs(face="smile_then_brows", voice="lively", text="report", physio="low"),
}

# Clips whose words carry nothing: the sentence comes from one list for all emotions.
PLAIN_SHARE = 0.4

# Flashes are shorter than one cycle of a mirrored face, so only steady signs can flash.
FLASHES: tuple[str, ...] = ("anger", "disgust", "fear", "surprise")

# Russell's circumplex (1980), as rough unit values; written on clips as valence and arousal.
AFFECT: Mapping[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "anger": (-0.6, 0.8),
    "disgust": (-0.6, -0.1),
    "fear": (-0.7, 0.7),
    "happiness": (0.8, 0.6),
    "sadness": (-0.7, -0.4),
    "surprise": (0.2, 0.8),
    "other": (0.1, -0.2),
}
