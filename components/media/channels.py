"""One channel out of several, in which the voice is kept.

FFmpeg's mix of a layout is the usual one: (L + R) / 2 for stereo; centre, front and surround by their weights for 5.1,
nothing of the low-frequency channel. It loses a voice in two ways: channels of opposite polarity cancel each other (one
inverted cable), and the weight of a channel is zero or small, where the layout is a guess (a field recorder's file has
no layout, so its fourth channel counts as low-frequency effects). Beyond some counts of channels there is no usual mix.

Rule. While a sound is decoded, the products of its channels are summed (N x N numbers per layout, whatever the length;
every LOOK_EVERY-th frame, each without its mean). Where the usual mix keeps less than KEPT_SHARE of the energy of the
*fair* mix, the sound is decoded once more and mixed fairly: the mean of all channels that hold sound, each with the
sign with which it correlates with the louder ones before it. Both the measure and the mix are those of the whole clip,
so nothing switches within it, and ordinary sound is decoded once, by FFmpeg alone.

Constants. A channel holds sound from ACTIVE_SHARE (-20 dB) of the loudest on: a second speaker further from the
microphone, but not the noise of an unused input, which would only attenuate the others. For a known layout the fair mix
is measured at the largest weight of the usual one, so that only cancellation and weights count, not headroom: the usual
mixes of speech in a single channel of mono to 7.1 then keep at least 0.25 (-6 dB, a surround channel), two unrelated
channels 1.0, and equal channels of opposite polarity up to 0.1 as long as their correlation is below -0.82 or their
levels differ by less than 5.7 dB. KEPT_SHARE = 0.1 separates the two. Without a layout no weights are meant, and the
fair mix is measured as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

MAX_CHANNELS = 64  # FFmpeg's resampler takes no more
SAFE_PLANES = 7  # of more planes PyAV reads one that does not exist, which ends the process
MAX_LEVEL = 1000.0  # of a sample in floating point, whose full scale is 1
FLOATING = ("flt", "dbl")
UNSPECIFIED = " channels"  # FFmpeg's name of a layout that the file does not have: "6 channels"

LOOK_EVERY = 4  # frames of 20 to 90 ms: speech lasts far longer
ACTIVE_SHARE = 0.01
KEPT_SHARE = 0.1

PROBE_SAMPLES, PROBE_RATE_HZ, PROBE_LEVEL = 64, 16_000, 0.5


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A fair mix: `weights` of the channels, |w| summing to 1; `kept` is the usual mix's share of its energy."""

    weights: tuple[float, ...]
    kept: float

    def __str__(self) -> str:
        used = [(number, weight) for number, weight in enumerate(self.weights, start=1) if weight]
        if len(used) == 1:
            how = f"channel {used[0][0]} alone is used"
        else:
            terms = (f"{'−' if weight < 0 else '+'} {abs(weight):.2f} × channel {number}" for number, weight in used)
            how = "mixed as " + " ".join(terms).removeprefix("+ ")
        return f"the usual mix of the {len(self.weights)} channels keeps {self.kept:.0%} of the sound; {how}"


class ChannelMixer:
    """Takes decoded frames before they are resampled: measures their channels, or mixes them by given weights.

    Args:
        mixes: layout → mix; frames of other layouts are left to FFmpeg and measured.
    """

    def __init__(self, mixes: Mapping[str, Mix]) -> None:
        self._mixes = mixes
        self._products: dict[str, NDArray[np.float64]] = {}
        self._frames: dict[str, int] = {}
        self._packers: dict[tuple[str, str, int], Any] = {}

    def accept(self, frame: Any) -> Any | None:
        """The frame to resample, as it came or mixed to one channel; None where it holds no sound: NaN, infinity, an
        impossible level, or too many channels."""
        count, name = frame.layout.nb_channels, frame.layout.name
        if count > MAX_CHANNELS:
            return None
        mix = self._mixes.get(name) if count > 1 else None
        floating = frame.format.name.startswith(FLOATING)
        measured = count > 1 and mix is None and self._is_due(name)
        if not (floating or measured or mix):
            return frame
        try:
            samples = self._samples(frame, scaled=mix is not None)
        except (av.error.FFmpegError, ValueError):
            return None if floating or mix else frame
        if floating and not (np.abs(samples) <= MAX_LEVEL).all():  # also refuses NaN
            return None
        if measured:
            self._measure(name, samples)
        return frame if mix is None else _mixed(frame, samples, mix)

    def lossy(self) -> dict[str, Mix]:
        """Layout → fair mix, for the layouts measured whose usual mix loses the sound."""
        fair = {name: fair_mix(products, name) for name, products in self._products.items()}
        return {name: mix for name, mix in fair.items() if mix is not None and mix.kept < KEPT_SHARE}

    def _is_due(self, name: str) -> bool:
        number = self._frames.get(name, 0)
        self._frames[name] = number + 1
        return number % LOOK_EVERY == 0

    def _measure(self, name: str, samples: NDArray[Any]) -> None:
        centred = samples.astype(np.float32)
        centred -= centred.mean(axis=1, keepdims=True)
        products = (centred @ centred.T).astype(np.float64)
        self._products[name] = self._products.get(name, 0.0) + products

    def _samples(self, frame: Any, *, scaled: bool) -> NDArray[Any]:
        """(N, n) samples; `scaled` to a full scale of 1."""
        count = frame.layout.nb_channels
        if scaled or (frame.format.is_planar and count > SAFE_PLANES):
            key = (frame.format.name, frame.layout.name, frame.sample_rate)
            if key not in self._packers:
                self._packers[key] = av.AudioResampler(format="flt", layout=frame.layout.name, rate=frame.sample_rate)
            packed = [part.to_ndarray().reshape(-1, count) for part in self._packers[key].resample(frame)]
            return np.concatenate(packed).T
        samples: NDArray[Any] = frame.to_ndarray()
        return samples if frame.format.is_planar else samples.reshape(-1, count).T


def fair_mix(products: NDArray[np.float64], layout: str) -> Mix | None:
    """The fair mix of channels, None for silence.

    Args:
        products: (N, N) sums of products of the channels.
        layout: FFmpeg's name of their layout.
    """
    energy = np.diag(products)
    loudest_first = np.argsort(-energy, kind="stable")
    if not energy[loudest_first[0]] > 0:
        return None
    weights = np.zeros(energy.size)
    for channel in loudest_first:
        if energy[channel] >= ACTIVE_SHARE * energy[loudest_first[0]]:
            weights[channel] = 1.0 if weights @ products[:, channel] >= 0 else -1.0
    weights /= np.abs(weights).sum() * np.sign(weights[np.nonzero(weights)[0][0]])  # the first channel keeps its sign
    usual = usual_weights(layout, energy.size)
    is_known = not layout.endswith(UNSPECIFIED) and usual.any()
    measured = weights * (usual.max() / np.abs(weights).max()) if is_known else weights
    kept = float(usual @ products @ usual) / float(measured @ products @ measured)
    return Mix(weights=tuple(float(weight) for weight in weights), kept=max(kept, 0.0))


def usual_weights(layout: str, count: int) -> NDArray[np.float64]:
    """(N,) weights of FFmpeg's mix to one channel, zeros where it has none; measured, one channel at a time."""
    weights = np.zeros(count)
    for channel in range(count):
        weight = _usual_weight(layout, count, channel)
        if weight is None:
            return np.zeros(count)
        weights[channel] = weight
    return weights


@cache
def _usual_weight(layout: str, count: int, channel: int) -> float | None:
    samples = np.zeros((PROBE_SAMPLES, count), dtype=np.float32)
    samples[:, channel] = PROBE_LEVEL
    try:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = PROBE_RATE_HZ
        resampler = av.AudioResampler(format="s16", layout="mono", rate=PROBE_RATE_HZ)
        parts = [part.to_ndarray().reshape(-1) for part in (*resampler.resample(frame), *resampler.resample(None))]
    except (av.error.FFmpegError, ValueError):
        return None
    return float(np.concatenate(parts)[PROBE_SAMPLES // 2]) / (PROBE_LEVEL * 32768)


def _mixed(frame: Any, samples: NDArray[Any], mix: Mix) -> Any:
    mono = np.asarray(mix.weights, dtype=np.float32) @ samples
    mixed = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
    mixed.sample_rate, mixed.pts = frame.sample_rate, frame.pts
    if frame.time_base is not None:
        mixed.time_base = Fraction(frame.time_base)
    return mixed
