"""The loudness of speech over time, at the rate at which lips are compared with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.media.sound import FULL_SCALE
from components.runtime.spared import compiled

RATE_HZ = 50  # twice the fastest rate of syllables many times over, and finer than any usual frame rate
BAND_HZ = (200.0, 4000.0)  # where the vowels are; hum and hiss are outside
RANGE_DB = 40.0  # below the loud parts; quieter is taken as silence
LOUD_PERCENTILE = 95
CHUNK_S = 30  # filtered at a time, so that a long clip needs no floating-point copy of its sound
SILENCE = 1e-9
ORDER = 2
# `scipy.signal.butter(ORDER, BAND_HZ, "band", fs=rate_hz, output="sos")` at the usual rate; a test compares them.
SECTIONS = {
    16_000: (
        (0.27025816956016313, 0.5405163391203263, 0.27025816956016313, 1.0, -0.04459838984290639, 0.19325463202573107),
        (1.0, -2.0, 1.0, 1.0, -1.889261710384236, 0.8955580860828951),
    )
}


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
    band = _band_pass(rate_hz)
    power = np.zeros(count)
    step = CHUNK_S * RATE_HZ
    for first in range(0, count, step):
        part = pcm[first * hop : min(first + step, count) * hop].astype(np.float64) / FULL_SCALE
        power[first : first + step] = np.mean(band(part).reshape(-1, hop) ** 2, axis=1)
    level = 10.0 * np.log10(np.maximum(power, SILENCE))
    loud = float(np.percentile(level, LOUD_PERCENTILE))
    if loud <= 10.0 * np.log10(SILENCE):
        return None
    return Envelope(level_db=np.maximum(level, loud - RANGE_DB))


def _band_pass(rate_hz: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The filter of a clip, from silence on, for its parts (N,) in turn.

    The compiled loop of scipy is called without `scipy.signal`, a second of imports of which this is all that a clip
    with a face and a voice needs.
    """
    sections, loop = SECTIONS.get(rate_hz), compiled("scipy.signal", "_sosfilt")
    if sections is None or loop is None:
        return _by_scipy(rate_hz)
    sections_S6 = np.array(sections)
    state = np.zeros((1, len(sections), 2))

    def heard(part: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = part.reshape(1, -1).copy()
        loop._sosfilt(sections_S6, rows, state)  # both in place
        return rows[0]

    return heard


def _by_scipy(rate_hz: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    from scipy.signal import butter, sosfilt

    sections = butter(ORDER, BAND_HZ, "band", fs=rate_hz, output="sos")
    state: Any = np.zeros((len(sections), 2))

    def heard(part: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal state
        result, state = sosfilt(sections, part, zi=state)
        return np.asarray(result)

    return heard
