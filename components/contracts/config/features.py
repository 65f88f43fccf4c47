"""The section `features`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from components.contracts.config.base import MODALITIES, Section


class Features(Section):
    """Which encoder serves each modality, and where encoders run.

    Features that a corpus brings ready-made are modalities of any name and need no entry.
    """

    encoders: Mapping[str, str] = Field(
        default_factory=lambda: {"face": "fer", "voice": "whisper-tiny", "text": "minilm", "physio": "signal"}
    )
    """Modality → encoder. Embedded ones are face: fer, hog; voice: whisper-tiny, signal, whisper-tiny-frames;
    text: minilm, hashing; physio: signal. Face, voice and text also take a checkpoint, `transformers:<hub name or
    folder>`, optionally with `@<revision>`. A modality that is left out is not encoded. `whisper-tiny-frames` leaves
    the last layers of `whisper-tiny` to the model, where they can learn (`train.adapt`).

    Words that are surely in a language which their encoder does not know count as missing. `minilm` knows English;
    `minilm?languages=any` lets it read all, and `transformers:NAME?languages=pl,en` says what a checkpoint knows."""

    batch_clips: int = Field(8, gt=0)
    """Clips that an actor encodes at a time. It changes speed and memory."""

    actors: int = Field(1, gt=0)
    """Ray actors that encode on the CPU, each on one core. Checkpoints on a GPU have one actor per GPU besides."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where checkpoints (`transformers:…`) run; `auto` is a GPU if there is one. The embedded encoders always run on
    the CPU, so that their numbers are the same everywhere."""

    @field_validator("encoders")
    @classmethod
    def _modalities(cls, encoders: Mapping[str, str]) -> Mapping[str, str]:
        if not encoders:
            raise ValueError("at least one modality needs an encoder")
        for modality, spec in encoders.items():
            ready_made = "Features that a corpus brings ready-made need no entry"
            if modality not in MODALITIES:
                raise ValueError(f"unknown modality {modality!r}; allowed: {', '.join(MODALITIES)}. {ready_made}")
            if spec.partition(":")[0] == "given":
                raise ValueError(f"{spec!r} is no encoder of media. {ready_made}")
        return encoders
