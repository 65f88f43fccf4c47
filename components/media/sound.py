"""Sound on the clip's clock: 16 kHz mono samples, each at the time of its timestamp, and which of them exist.

Decoded audio frames are joined to *runs* as long as timestamps follow the sample count. A jump of the timestamps that
lasts ends a run, so lost packets leave a hole (zeros that are marked as missing) instead of pulling everything after
them forward. Inside a run the sample count is the clock; where the timestamps depart from it slowly and steadily (a
microphone that does not keep its nominal rate), the run is stretched to the timestamps. Timestamps that jump to and fro
jitter: `clocks/jitter.py` finds what is behind them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.channels import ChannelMixer, Mix
from components.media.clocks.clock import DriftEstimate
from components.media.clocks.jitter import JUMP_S, LASTING_S, MAX_JITTER_S, pieces
from components.media.source import too_long

SMOOTHING = 0.05  # of that clock, per frame: follows a drift, ignores jitter
STRETCH_S = 0.005  # a run that ends this far from its timestamps is stretched to them
SAMPLE_SLACK = 1e-3  # of a sample: timestamps are fractions that floats only approximate
FULL_SCALE = 32768.0
LEVEL_STEPS = 128  # for which levels are computed at a time
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
MAX_RUNS = 5_000  # each costs a resampler
PADDING_RMS = 32.0  # an encoder's padding decodes to no more than -60 dB of full scale,
PADDING_SHARE = 0.2  # or to the faint pre-echo of what follows (0.05 to 0.12 measured)


@dataclass(frozen=True, kw_only=True)
class SampleRun:
    """Gap-free samples: `pcm` (n,) int16 at the target rate, the first at `start_s` of the container's clock."""

    start_s: float
    pcm: NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One decoded audio stream: its runs in time order, with its drift and damage.

    `padding_s` is how much of the start is the encoder's own: transform codecs put one frame before the first sample,
    and a container whose stream starts late keeps it as if it were sound. `jitters` says that timestamps jumped to and
    fro, so that the sample count placed the sound. `mixes` are those that replaced FFmpeg's.
    """

    runs: tuple[SampleRun, ...]
    rate_hz: int
    drift_s_per_min: float
    damaged_packets: int
    declared_end_s: float | None
    padding_s: float = 0.0
    jitters: bool = False
    mixes: tuple[Mix, ...] = ()

    @property
    def start_s(self) -> float:
        """Time of the first sample on the container's clock."""
        return min(run.start_s for run in self.runs)

    @property
    def end_s(self) -> float:
        """End of the last sample on the container's clock."""
        return max(run.start_s + run.pcm.size / self.rate_hz for run in self.runs)


class _Heard(NamedTuple):
    """A decoded frame with its format, its timestamp and its length."""

    frame: Any
    layout: tuple[str, str, int]
    stamp_s: float | None
    lasts_s: float


@dataclass
class SoundCollector:
    """Takes decoded audio frames in order and builds the runs; memory is the resampled int16 signal only.

    A frame that holds NaN or infinity, or more than 64 channels, counts as damaged: its samples are missing. Layouts
    in `mixes` are mixed to one channel by them, the others by FFmpeg.

    Raises MediaError (`too-long`, `sample-rate`, `timestamps`) as soon as more sound was decoded than the limits allow,
    its rate is not one of a recording, or its timestamps jump so often that they are useless.
    """

    rate_hz: int
    limits: MediaLimits
    where: str
    mixes: Mapping[str, Mix] = field(default_factory=dict)
    runs: list[SampleRun] = field(default_factory=list)
    drift: DriftEstimate = field(default_factory=DriftEstimate)
    decoded_s: float = 0.0
    damaged: int = 0
    jitters: bool = False
    _held: deque[_Heard] = field(default_factory=deque)
    _run_jitters: bool = False
    _mixer: ChannelMixer = field(init=False)
    _resampler: Any = None
    _format: tuple[str, str, int] | None = None
    _parts: list[NDArray[np.int16]] = field(default_factory=list)
    _counted: list[float] = field(default_factory=list)
    _stamped: list[float] = field(default_factory=list)
    _start_s: float = 0.0
    _closed: int = 0
    _length_s: float = 0.0
    _error_s: float = 0.0

    def __post_init__(self) -> None:
        self._mixer = ChannelMixer(self.mixes)

    def lossy(self) -> dict[str, Mix]:
        """Layouts whose usual mix loses the sound, and how to mix them instead; see `channels`."""
        return self._mixer.lossy()

    def push(self, frame: Any) -> None:
        """Adds one decoded frame."""
        if not frame.samples or not frame.sample_rate:
            return
        if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
            raise _refused_rate(frame.sample_rate, self.where)
        seconds = frame.samples / frame.sample_rate
        self.decoded_s += seconds
        if self.decoded_s > self.limits.max_duration_s:
            raise too_long(self.decoded_s, self.limits, self.where)
        frame = self._mixer.accept(frame)
        if frame is None:
            self.damaged += 1
            return
        heard = _Heard(frame, (frame.format.name, frame.layout.name, frame.sample_rate), _stamp_s(frame), seconds)
        if self._held or self._leaves(heard):
            self._held.append(heard)
            self._settle(complete=False)
        else:
            self._add(heard)

    def end_run(self) -> None:
        """Ends the current run: what follows was recorded with a clock of its own."""
        self._settle(complete=True)
        if self._resampler is not None:
            self._close()

    def _leaves(self, heard: _Heard) -> bool:
        """Whether a frame's timestamp departs from the current run, so that those after it have to decide."""
        if self._resampler is None or self._run_jitters or heard.stamp_s is None or heard.layout != self._format:
            return False
        return abs(self._error_of(heard.stamp_s)) > JUMP_S

    def _error_of(self, stamp_s: float, *, after_s: float = 0.0) -> float:
        """How far a timestamp is from the smoothed clock, of a frame so much after the end of the run."""
        return stamp_s - (self._start_s + self._length_s + after_s) - self._error_s

    def _settle(self, *, complete: bool) -> None:
        """Adds the frames that were held back, as far as those after them decide; all of them if `complete`."""
        while self._held:
            leaves = self._leaves(self._held[0])
            if leaves and not complete and sum(later.lasts_s for later in self._held) <= LASTING_S:
                return
            heard = self._held.popleft()
            if leaves and self._jump_lasts(heard):
                self._close()
            elif leaves:
                self._run_jitters = self.jitters = True
            self._add(heard)

    def _jump_lasts(self, heard: _Heard) -> bool:
        """Whether no timestamp of the next second is back on the clock that this frame left."""
        jump_s = self._error_of(heard.stamp_s or 0.0)
        after_s, errors = heard.lasts_s, []
        for later in self._held:
            if after_s > LASTING_S or later.layout != self._format:
                break
            if later.stamp_s is not None:
                errors.append(self._error_of(later.stamp_s, after_s=after_s))
            after_s += later.lasts_s
        if not errors:  # the last frame has no witness: one that goes far is wild
            return abs(jump_s) <= LASTING_S
        return min(errors) > JUMP_S if jump_s > 0 else max(errors) < -JUMP_S

    def _add(self, heard: _Heard) -> None:
        stamp = heard.stamp_s
        if self._resampler is not None and heard.layout != self._format:
            self._close()
        if self._resampler is None:
            self._open(heard.layout, stamp)
        elif stamp is not None and not self._run_jitters:
            self._error_s += SMOOTHING * self._error_of(stamp)
        self._counted.append(self._length_s)
        self._stamped.append(self._start_s + self._length_s if stamp is None else stamp)
        self._length_s += heard.lasts_s
        try:
            self._take(self._resampler.resample(heard.frame))
        except MemoryError:
            raise
        except av.error.FFmpegError:
            self.damaged += 1
            self._resampler = None

    def finish(self, *, damaged_packets: int, declared_end_s: float | None, codec_frame_s: float) -> Sound | None:
        """The complete stream, or None when nothing was decoded; `codec_frame_s` is the length of a codec's frame."""
        self.end_run()
        if not self.runs:
            return None
        runs = tuple(sorted(self.runs, key=lambda run: run.start_s))
        frame = round(codec_frame_s * self.rate_hz)
        lead, after = _rms(runs[0].pcm[:frame]), _rms(runs[0].pcm[frame : 2 * frame])
        return Sound(
            runs=runs,
            padding_s=codec_frame_s if lead <= max(PADDING_RMS, PADDING_SHARE * after) else 0.0,
            rate_hz=self.rate_hz,
            drift_s_per_min=self.drift.drift_s_per_min,
            damaged_packets=damaged_packets + self.damaged,
            declared_end_s=declared_end_s,
            jitters=self.jitters,
            mixes=tuple(self.mixes.values()),
        )

    def _open(self, layout: tuple[str, str, int], stamp: float | None) -> None:
        start = stamp
        if start is None:  # a stream without timestamps continues where it ended
            last = self.runs[-1] if self.runs else None
            start = last.start_s + last.pcm.size / self.rate_hz if last else 0.0
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self.rate_hz)
        self._format = layout
        self._parts, self._counted, self._stamped = [], [], []
        self._length_s = self._error_s = 0.0
        self._run_jitters = False
        self._start_s = start

    def _take(self, frames: list[Any]) -> None:
        self._parts.extend(frame.to_ndarray().reshape(-1) for frame in frames if frame.samples)

    def _close(self) -> None:
        self._take(self._resampler.resample(None))
        self._resampler = None
        pcm = np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=np.int16)
        # Resamplers may add a few samples of their own tail; the length of the source is that of the recording.
        pcm = pcm[: round(self._length_s * self.rate_hz)]
        counted, stamped = np.array(self._counted), np.array(self._stamped)
        if self._run_jitters:
            runs = self._pieces(pcm, counted, stamped)
        else:
            self.drift.add(counted, stamped)
            runs = [SampleRun(start_s=float(stamped[0]), pcm=_stretched(pcm, counted, stamped))] if pcm.size else []
        self._closed += max(1, len(runs))
        if self._closed > MAX_RUNS:
            raise _torn(
                self.where, f"more than {MAX_RUNS} pieces", f"at most {MAX_RUNS} pieces without a jump between them"
            )
        self.runs.extend(runs)

    def _pieces(
        self, pcm: NDArray[np.int16], counted: NDArray[np.float64], stamped: NDArray[np.float64]
    ) -> list[SampleRun]:
        """The runs of sound whose timestamps jitter; counts its drift only where it is beyond their scatter."""
        laid = pieces(counted, stamped)
        if laid is None:
            raise _torn(
                self.where,
                f"more than {MAX_JITTER_S:g} s from the sample count at every other packet",
                f"at most {MAX_JITTER_S:g} s",
            )
        bounds = [*(round(piece.from_s * self.rate_hz) for piece in laid), pcm.size]
        runs = []
        for piece, first, last in zip(laid, bounds, bounds[1:], strict=False):
            at = counted[piece.first : piece.last]
            on_line = piece.start_s + piece.slope * (at - piece.from_s)
            self.drift.add(at, on_line)
            if first < last:
                runs.append(SampleRun(start_s=piece.start_s, pcm=_stretched(pcm[first:last], at, on_line)))
        return runs


def _stamp_s(frame: Any) -> float | None:
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


def _refused_rate(rate_hz: int, where: str) -> MediaError:
    return MediaError(
        "this is not the sample rate of a recording",
        where=where,
        seen=f"{rate_hz} Hz",
        allowed=f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz",
        remedy="The header is damaged: export or download the file again",
        code=Code.SAMPLE_RATE,
    )


def _torn(where: str, seen: str, allowed: str) -> MediaError:
    return MediaError(
        "the timestamps of the sound jump again and again",
        where=where,
        seen=seen,
        allowed=allowed,
        remedy="The file is damaged, or was put together wrongly: export or download it again",
        code=Code.TIMESTAMPS,
    )


def _rms(pcm: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2))) if pcm.size else 0.0


def _stretched(pcm: NDArray[np.int16], counted: NDArray[np.float64], stamped: NDArray[np.float64]) -> NDArray[np.int16]:
    """A run stretched to its timestamps where they and the sample count end apart; linear interpolation."""
    local = DriftEstimate()
    local.add(counted, stamped)
    if abs(local.slope - 1.0) * local.span_s <= STRETCH_S:
        return pcm
    size = max(1, round(pcm.size * local.slope))
    at = np.arange(size, dtype=np.float64) / local.slope
    return np.rint(np.interp(at, np.arange(pcm.size), pcm.astype(np.float64))).astype(np.int16)


def cut(sound: Sound, start_s: float, end_s: float) -> Sound | None:
    """The part of a stream within `[start_s, end_s)` of the container's clock, or None if it is empty."""
    runs = []
    for run in sound.runs:
        first = max(0, math.ceil((start_s - run.start_s) * sound.rate_hz - SAMPLE_SLACK))
        last = max(first, math.ceil(min((end_s - run.start_s) * sound.rate_hz, run.pcm.size) - SAMPLE_SLACK))
        if first < last:
            runs.append(SampleRun(start_s=run.start_s + first / sound.rate_hz, pcm=run.pcm[first:last]))
    return replace(sound, runs=tuple(runs)) if runs else None


def place(sound: Sound, *, origin_s: float, duration_s: float) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The samples of a clip's clock.

    Args:
        sound: the decoded stream.
        origin_s: the clip's zero on the container's clock.
        duration_s: of the clip.

    Returns:
        ((N,) int16 with zeros where nothing was recorded, (N,) True where a sample exists), N = ceil(duration * rate).
    """
    size = samples_of(duration_s, sound.rate_hz)
    pcm = np.zeros(size, dtype=np.int16)
    exists = np.zeros(size, dtype=bool)
    for run in sound.runs:
        first = round((run.start_s - origin_s) * sound.rate_hz)
        begin, end = max(first, 0), min(first + run.pcm.size, size)
        if begin < end:
            pcm[begin:end] = run.pcm[begin - first : end - first]
            exists[begin:end] = True
    return pcm, exists


def samples_of(duration_s: float, rate_hz: float) -> int:
    """How many samples cover a duration; the slack is that of `timebase.Grid`."""
    return max(1, int(np.ceil(duration_s * rate_hz - 1e-6 * rate_hz)))


def levels_dbfs(
    pcm: NDArray[np.int16], exists: NDArray[np.bool_], rate_hz: int, starts_s: NDArray[np.float64], step_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Level and presence of each step.

    Args:
        pcm, exists: as `place` returns them.
        rate_hz: of the samples.
        starts_s: (T,) start of each step; step_s: length of a step.

    Returns:
        ((T,) root mean square over the samples that exist, dB relative to a full-scale square wave, -inf without any;
        (T,) share of the step whose samples exist).
    """
    size = pcm.size
    first = np.clip(np.round(starts_s * rate_hz).astype(np.int64), 0, size)
    last = np.clip(np.round((starts_s + step_s) * rate_hz).astype(np.int64), first, size)
    energy, present = np.zeros(starts_s.size), np.zeros(starts_s.size)
    for begin in range(0, starts_s.size, LEVEL_STEPS):
        steps = slice(begin, begin + LEVEL_STEPS)
        low, high = int(first[steps].min()), int(last[steps].max())
        # Sums up to each sample, of this stretch alone: a long clip needs no floating-point copy of its sound.
        power = np.concatenate([[0.0], np.cumsum((pcm[low:high].astype(np.float64) / FULL_SCALE) ** 2)])
        counts = np.concatenate([[0], np.cumsum(exists[low:high])])
        energy[steps] = power[last[steps] - low] - power[first[steps] - low]
        present[steps] = counts[last[steps] - low] - counts[first[steps] - low]
    mean = energy / np.maximum(present, 1.0)
    level = np.full(starts_s.size, -np.inf)
    loud = (present > 0) & (mean > 0)
    level[loud] = 10.0 * np.log10(mean[loud])
    return level, present / np.maximum(last - first, 1)
