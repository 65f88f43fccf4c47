"""What the voice encoders share: the clip's sound as a level-normalised wave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.contracts.records import AlignedClip
from components.features.base import mask_of
from components.features.encoders.log_mel import RATE_HZ

INT16_SCALE = 32768.0
TARGET_RMS = 0.1  # −20 dBFS, the usual level of close speech
AUDIO_VERSION = 1


def level_normalised(clip: AlignedClip) -> NDArray[np.float32]:
    """The clip's wave (N,) with its mean removed and its RMS over the valid voice steps set to −20 dBFS.

    One gain for the whole clip: microphones, distance and codecs set a recording's level, so it must not reach the
    encoder, while loudness *within* the clip is the speaker's and stays. Nothing is clipped.

    Raises:
        DataError: the sound is not at 16 kHz.
    """
    if clip.audio_rate_hz != RATE_HZ:
        raise DataError("voice encoders need 16 kHz", where=clip.clip_id, seen=clip.audio_rate_hz, allowed=RATE_HZ)
    wave = clip.pcm.astype(np.float64) / INT16_SCALE
    if wave.size == 0:
        return wave.astype(np.float32)
    valid_step = mask_of(clip, "voice")
    step = np.minimum((np.arange(wave.size) * (clip.grid.rate_hz / RATE_HZ)).astype(np.int64), valid_step.size - 1)
    valid_sample = valid_step[step]
    if valid_sample.any():
        wave -= wave[valid_sample].mean()
        rms = float(np.sqrt(np.mean(wave[valid_sample] ** 2)))
        if rms > 0:
            wave *= TARGET_RMS / rms
    return wave.astype(np.float32)


def has_voice(clip: AlignedClip) -> bool:
    """Whether there is any valid sound to encode."""
    return bool(clip.pcm.size) and bool(mask_of(clip, "voice").any())
