"""The loudness of speech over time, at the rate at which lips are compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.media.sound import FULL_SCALE

RATE_HZ = 50  # twice the fastest rate of syllables many times over, and finer than any usual frame rate
BAND_HZ = (200.0, 4000.0)  # where the vowels are; hum and hiss are outside
RANGE_DB = 40.0  # below the loud parts; quieter is taken as silence
LOUD_PERCENTILE = 95
CHUNK_S = 30  # filtered at a time, so that a long clip needs no floating-point copy of its sound
SILENCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """`level_db` (n,): the level of each 1 / RATE_HZ of the clip, dB, no lower than RANGE_DB below its loud parts."""

    level_db: NDArray[np.float64]


def envelope(pcm: NDArray[np.int16], rate_hz: int) -> Envelope | None:
    """The envelope of a clip's sound (N,); None when it is silent or shorter than one value.

    A second-order Butterworth band pass delays by less than 2 ms within its band.
    """
    hop = rate_hz // RATE_HZ
    count = pcm.size // hop
    if not count:
        return None
    from scipy.signal import butter, sosfilt, sosfilt_zi  # a second of imports, which clips without a face spare

    sections = butter(2, BAND_HZ, "band", fs=rate_hz, output="sos")
    state = sosfilt_zi(sections) * 0.0
    power = np.zeros(count)
    step = CHUNK_S * RATE_HZ
    for first in range(0, count, step):
        part = pcm[first * hop : min(first + step, count) * hop].astype(np.float64) / FULL_SCALE
        heard, state = sosfilt(sections, part, zi=state)
        power[first : first + step] = np.mean(heard.reshape(-1, hop) ** 2, axis=1)
    level = 10.0 * np.log10(np.maximum(power, SILENCE))
    loud = float(np.percentile(level, LOUD_PERCENTILE))
    if loud <= 10.0 * np.log10(SILENCE):
        return None
    return Envelope(level_db=np.maximum(level, loud - RANGE_DB))
