"""Every encoder, by the spec that names it in `params.yaml`.

Adding one is one file and one line here. Creating an encoder loads no weights and imports no framework.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.contracts.config import MODALITIES
from components.contracts.errors import ConfigError
from components.features.base import Encoder
from components.features.encoders.fer import Fer
from components.features.encoders.given import from_spec, is_given
from components.features.encoders.hashing import HashedWords
from components.features.encoders.hog import Hog
from components.features.encoders.minilm import MiniLm
from components.features.encoders.physio_signal import PhysioSignal
from components.features.encoders.signal import VoiceSignal
from components.features.encoders.transformers_face import TransformersFace
from components.features.encoders.transformers_text import TransformersText
from components.features.encoders.transformers_voice import TransformersVoice
from components.features.encoders.whisper_tiny import WhisperFrames, WhisperTiny
from components.features.languages import MARK, ReadsWords, split

ENCODERS: dict[tuple[str, str], Callable[[str], Encoder]] = {
    ("face", "fer"): Fer,
    ("face", "hog"): Hog,
    ("voice", "whisper-tiny"): WhisperTiny,
    ("voice", "signal"): VoiceSignal,
    ("voice", "whisper-tiny-frames"): WhisperFrames,
    ("text", "minilm"): MiniLm,
    ("text", "hashing"): HashedWords,
    ("physio", "signal"): PhysioSignal,
}
CHECKPOINT = "transformers:"
CHECKPOINTS: dict[str, Callable[[str, str, str], Encoder]] = {
    "face": TransformersFace,
    "voice": TransformersVoice,
    "text": TransformersText,
}


def specs(modality: str) -> tuple[str, ...]:
    """The specs that a modality may have."""
    named = tuple(name for kind, name in ENCODERS if kind == modality)
    return (*named, f"{CHECKPOINT}<hub name or folder>") if modality in CHECKPOINTS else named


def portable(spec: str) -> str:
    """The spec with a checkpoint's folder as an absolute path, for a process in a different working folder."""
    name, mark, languages = spec.partition(MARK)
    if name.startswith(CHECKPOINT) and Path(name.removeprefix(CHECKPOINT)).is_dir():
        return CHECKPOINT + str(Path(name.removeprefix(CHECKPOINT)).resolve()) + mark + languages
    return spec


def create(spec: str, modality: str, device: str = "auto") -> Encoder:
    """The encoder of a spec, weights not loaded.

    Args:
        spec: an encoder's name, `transformers:<hub name or folder>`, optionally with `@<revision>`, or `given:<width>`
            for features that come ready-made, of a modality of any name. One of words may end in `?languages=pl,en`
            or `?languages=any`: those that it knows, instead of what it says itself.
        modality: the modality it shall read.
        device: auto, cpu or cuda. Only checkpoints use it: the embedded encoders are small and always run in float32
            on the CPU, so that their numbers are the same everywhere.

    Raises:
        ConfigError: unknown modality, spec or language, with the nearest name.
        UnavailableError: a checkpoint that is not on this machine and cannot be fetched, or a device that is not there.
    """
    if is_given(spec):
        return from_spec(spec, modality)
    if modality not in MODALITIES:
        raise ConfigError.unknown("modality", modality, MODALITIES, where="features.encoders")
    name, languages = split(spec, modality)
    if name.startswith(CHECKPOINT) and modality in CHECKPOINTS:
        encoder = CHECKPOINTS[modality](spec, name.removeprefix(CHECKPOINT), device)
    elif (modality, name) in ENCODERS:
        encoder = ENCODERS[modality, name](spec)
    else:
        raise ConfigError.unknown("encoder", name, specs(modality), where=f"features.encoders.{modality}")
    if languages is not None and isinstance(encoder, ReadsWords):
        encoder.languages = languages
    return encoder


def encoder_fingerprint(spec: str, modality: str, device: str = "auto") -> str:
    """The fingerprint of a spec's encoder, as in the store's keys; raises as `create`."""
    return create(spec, modality, device).fingerprint
