"""Encodes a few aligned clips with every encoder that they need, so that a bad clip fails alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.contracts.codes import Code
from components.contracts.errors import ConfigError, MerError, UnavailableError
from components.contracts.records import AlignedClip
from components.features.base import Encoded, Encoder


@dataclass(frozen=True, kw_only=True)
class EncodingResult:
    """The outcome of one modality of one clip: `encoded`, or a `code` and a `message` for quarantine.

    With neither it is a receipt: the features are stored (`pieces.py`)."""

    clip_id: str
    modality: str
    key: str
    encoded: Encoded | None = None
    code: Code | None = None
    message: str = ""


def encode_clips(
    clips: Sequence[tuple[AlignedClip, Mapping[str, str]]], encoders: Mapping[str, Encoder]
) -> list[EncodingResult]:
    """Encodes clips, each with modality → key of the features to encode.

    A clip whose encoder raises, or whose features contain a value that is not finite, becomes an `EncodingResult` with
    a code.

    Raises:
        ConfigError, UnavailableError: the encoder itself cannot work, whatever the clip.
    """
    results: list[EncodingResult] = []
    for modality, encoder in sorted(encoders.items()):
        requested = [(clip, keys[modality]) for clip, keys in clips if modality in keys]
        if not requested:
            continue
        try:
            encoded = encoder.encode([clip for clip, _ in requested])
            results += [_judged(clip, key, encoder, item) for (clip, key), item in zip(requested, encoded, strict=True)]
        except (ConfigError, UnavailableError):
            raise
        except Exception:
            results += [_alone(clip, key, encoder) for clip, key in requested]
    return results


def _alone(clip: AlignedClip, key: str, encoder: Encoder) -> EncodingResult:
    """Encodes one clip alone, after its batch failed."""
    try:
        (encoded,) = encoder.encode([clip])
    except (ConfigError, UnavailableError):
        raise
    except MerError as error:
        return EncodingResult(
            clip_id=clip.clip_id, modality=encoder.modality, key=key, code=Code.ENCODER, message=str(error)
        )
    except Exception as error:
        message = f"{encoder.modality} encoder {encoder.name} failed: {type(error).__name__}: {error}"
        return EncodingResult(
            clip_id=clip.clip_id, modality=encoder.modality, key=key, code=Code.INTERNAL, message=message
        )
    return _judged(clip, key, encoder, encoded)


def _judged(clip: AlignedClip, key: str, encoder: Encoder, encoded: Encoded) -> EncodingResult:
    result = EncodingResult(clip_id=clip.clip_id, modality=encoder.modality, key=key, encoded=encoded)
    if encoded.values.shape != (clip.grid.num_steps, encoder.width):
        message = (
            f"{encoder.modality} encoder {encoder.name} returned {encoded.values.shape}, not "
            f"{(clip.grid.num_steps, encoder.width)}"
        )
        return EncodingResult(
            clip_id=clip.clip_id, modality=encoder.modality, key=key, code=Code.ENCODER, message=message
        )
    bad = ~np.isfinite(encoded.values).all(axis=1)
    if bad.any():
        step = int(np.nonzero(bad)[0][0])
        message = (
            f"{encoder.modality} features of {int(bad.sum())} of {bad.size} steps are not finite, the first at "
            f"{step / clip.grid.rate_hz:.1f} s (encoder {encoder.name})"
        )
        return EncodingResult(
            clip_id=clip.clip_id, modality=encoder.modality, key=key, code=Code.NOT_FINITE, message=message
        )
    return result
