"""`signal` (physio): heart, sweat, breath, temperature and muscle, 21 features per step; needs no weights.

The features of a step come from a window around it, as these signals are slower than a step: 10 s for the heart and the
breath, 4 s for skin conductance. The width is the same whichever channels a clip has: the features of an absent channel
are zero and its `…_present` is 0. Channels are matched by their usual names (`CHANNELS`); others are not used.

* heart (`heart.py`): rate, RMSSD, SDNN, slope of the rate; from the ECG, else from the pulse wave;
* skin conductance (Boucsein 2012, §1.1): level below 0.05 Hz relative to the clip, its slope, the phasic part, its rise
  and how much it moves;
* breath: phase-free rate and depth in the window, and the flow at the moment;
* temperature: level relative to the clip's start, slope; muscle: envelope and its change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy  # loads `ndimage` where it is first used
from numpy.typing import NDArray

from components.contracts.fingerprint import fingerprint
from components.contracts.records import AlignedClip
from components.contracts.timebase import Grid
from components.features.base import Encoded, empty, mask_of, masked
from components.features.encoders.heart import HEART_VERSION, beats, heart_features
from components.features.encoders.heart import NAMES as HEART_NAMES

VERSION = 1
# Name in the clip → channel. Of several names in one clip the first counts.
CHANNELS: dict[str, tuple[str, ...]] = {
    "ecg": ("ecg", "ekg"),
    "ppg": ("ppg", "bvp", "pulse"),
    "eda": ("eda", "gsr", "scl"),
    "resp": ("resp", "rsp", "respiration"),
    "temp": ("temp", "skt", "temperature"),
    "emg": ("emg",),
}
EDA_NAMES = (
    "eda_tonic",
    "eda_tonic_slope",
    "eda_phasic",
    "eda_phasic_slope",
    "eda_activity",
    "eda_level",
    "eda_present",
)
RESP_NAMES = ("breath_rate_hz", "breath_depth", "breath_flow", "breath_present")
TEMP_NAMES = ("temperature_change", "temperature_slope", "temperature_present")
EMG_NAMES = ("muscle_log_rms", "muscle_present")
NAMES: tuple[str, ...] = (*HEART_NAMES, *EDA_NAMES, *RESP_NAMES, *TEMP_NAMES, *EMG_NAMES)
TONIC_SIGMA_S = 4.0
ACTIVITY_S = 4.0
BREATH_WINDOW_S = 10.0
MIN_BREATH_S = 1.2
MIN_SAMPLES = 16


class PhysioSignal:
    """Physiological features in numpy and scipy. A few milliseconds a clip on one thread."""

    modality = "physio"
    width = len(NAMES)

    def __init__(self, name: str = "signal") -> None:
        self.name = name

    @property
    def fingerprint(self) -> str:
        """Hash of the spec, modality and this code's version."""
        return fingerprint({"spec": self.name, "modality": "physio", "version": [VERSION, HEART_VERSION]})

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, 21) per clip; valid where the physio mask is and at least one known channel gives a value."""
        return [self._encode(clip) for clip in clips]

    def _encode(self, clip: AlignedClip) -> Encoded:
        channels = known_channels(clip.physio)
        mask = mask_of(clip, "physio")
        if not channels or not mask.any():
            return empty(clip.grid.num_steps, self.width)
        rate_hz, grid = clip.physio_rate_hz, clip.grid
        groups = (
            _heart(channels, rate_hz, grid),
            _of(eda_features, len(EDA_NAMES), channels.get("eda"), rate_hz, grid),
            _of(breath_features, len(RESP_NAMES), channels.get("resp"), rate_hz, grid),
            _of(temperature_features, len(TEMP_NAMES), channels.get("temp"), rate_hz, grid),
            _of(muscle_features, len(EMG_NAMES), channels.get("emg"), rate_hz, grid),
        )
        present = np.any([group[:, -1] > 0 for group in groups], axis=0)
        return masked(np.concatenate(groups, axis=1).astype(np.float32), mask & present)


def known_channels(physio: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float64]]:
    """The known channels that have enough finite samples, gaps filled in a straight line."""
    by_name = {name.lower(): values for name, values in sorted(physio.items())}
    channels: dict[str, NDArray[np.float64]] = {}
    for kind, names in CHANNELS.items():
        for name in names:
            values = by_name.get(name)
            if values is None:
                continue
            finite = np.isfinite(values)
            if finite.sum() >= MIN_SAMPLES:
                index = np.arange(values.size)
                channels[kind] = np.interp(index, index[finite], values[finite].astype(np.float64))
            break
    return channels


def _heart(channels: Mapping[str, NDArray[np.float64]], rate_hz: float, grid: Grid) -> NDArray[np.float64]:
    for kind in ("ecg", "ppg"):
        if kind in channels:
            features = heart_features(beats(channels[kind], rate_hz, kind), grid.centres_s)
            if features[:, -1].any():
                return features
    return np.zeros((grid.num_steps, len(HEART_NAMES)))


def eda_features(values: NDArray[np.float64], rate_hz: float, grid: Grid) -> NDArray[np.float64]:
    """Skin conductance (T, EDA_NAMES): the tonic part is the signal under a Gaussian of 4 s, the phasic part the rest,
    smoothed over 0.25 s; activity is the mean absolute slope of the phasic part over 4 s."""
    tonic = scipy.ndimage.gaussian_filter1d(values, TONIC_SIGMA_S * rate_hz, mode="nearest")
    phasic = scipy.ndimage.gaussian_filter1d(values, 0.25 * rate_hz, mode="nearest") - tonic
    phasic_slope = np.gradient(phasic) * rate_hz
    activity = scipy.ndimage.uniform_filter1d(np.abs(phasic_slope), max(1, round(ACTIVITY_S * rate_hz)), mode="nearest")
    columns = (tonic - tonic.mean(), np.gradient(tonic) * rate_hz, phasic, phasic_slope, activity, values)
    return _at_steps(columns, rate_hz, grid)


def breath_features(values: NDArray[np.float64], rate_hz: float, grid: Grid) -> NDArray[np.float64]:
    """Breath (T, RESP_NAMES): rate from the troughs and peaks in 10 s around the step, depth as the standard deviation
    there, flow as the slope at the step; the last two relative to the clip's own spread."""
    spread = float(values.std())
    if spread <= 0:
        return np.zeros((grid.num_steps, len(RESP_NAMES)))
    from scipy.signal import find_peaks  # a second of imports

    wave = scipy.ndimage.gaussian_filter1d((values - values.mean()) / spread, 0.2 * rate_hz, mode="nearest")
    distance = max(1, round(MIN_BREATH_S * rate_hz))
    turns_s = np.sort(
        np.concatenate([find_peaks(sign * wave, distance=distance, prominence=0.3)[0] for sign in (1, -1)])
    )
    turns_s = turns_s / rate_hz
    half_s = np.diff(turns_s)
    middle_s = turns_s[:-1] + half_s / 2
    rate = np.zeros(grid.num_steps)
    for step, centre_s in enumerate(grid.centres_s):
        inside = half_s[np.abs(middle_s - centre_s) <= BREATH_WINDOW_S / 2]
        rate[step] = 0.5 / inside.mean() if inside.size else 0.0
    window = max(1, round(BREATH_WINDOW_S * rate_hz))
    mean = scipy.ndimage.uniform_filter1d(wave, window, mode="nearest")
    depth = np.sqrt(np.maximum(scipy.ndimage.uniform_filter1d(wave**2, window, mode="nearest") - mean**2, 0.0))
    features = _at_steps((depth, np.gradient(wave) * rate_hz), rate_hz, grid)
    return np.concatenate([rate[:, None], features], axis=1)


def temperature_features(values: NDArray[np.float64], rate_hz: float, grid: Grid) -> NDArray[np.float64]:
    """Temperature (T, TEMP_NAMES): change since the clip's first second, and slope, both under a Gaussian of 1 s."""
    smooth = scipy.ndimage.gaussian_filter1d(values, rate_hz, mode="nearest")
    first = smooth[: max(1, round(rate_hz))].mean()
    return _at_steps((smooth - first, np.gradient(smooth) * rate_hz), rate_hz, grid)


def muscle_features(values: NDArray[np.float64], rate_hz: float, grid: Grid) -> NDArray[np.float64]:
    """Muscle (T, EMG_NAMES): log of the RMS over 0.25 s around the step, the mean removed."""
    power = scipy.ndimage.uniform_filter1d((values - values.mean()) ** 2, max(1, round(0.25 * rate_hz)), mode="nearest")
    return _at_steps((0.5 * np.log(np.maximum(power, 1e-12)),), rate_hz, grid)


def _of(
    features: object, width: int, values: NDArray[np.float64] | None, rate_hz: float, grid: Grid
) -> NDArray[np.float64]:
    if values is None:
        return np.zeros((grid.num_steps, width))
    assert callable(features)
    return np.asarray(features(values, rate_hz, grid))


def _at_steps(columns: Sequence[NDArray[np.float64]], rate_hz: float, grid: Grid) -> NDArray[np.float64]:
    """Columns at the steps' centres, and a last column for the presence of the channel: 1 up to its last sample."""
    time_s = np.arange(columns[0].size) / rate_hz
    resampled = [np.interp(grid.centres_s, time_s, column) for column in columns]
    return np.stack([*resampled, (grid.starts_s <= time_s[-1]).astype(np.float64)], axis=1)
