"""Renders a plan: frames and sound into an H.264/AAC mp4 with real timestamps, physiology into Parquet.

Every file is written beside and renamed. The same plan gives the same bytes: one x264 thread, no clock in the
container, random numbers from the plan only (on one kind of processor; the AAC encoder computes in floating point).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from components.contracts.atomic import atomic_file, write_table
from components.datasets.synthetic.action import action_units
from components.datasets.synthetic.face import FacePainter, poses
from components.datasets.synthetic.physio import physiology
from components.datasets.synthetic.plan import MEDIA, ClipPlan
from components.datasets.synthetic.voice import RATE_HZ, speak

CLOCK_HZ = 90_000
AAC_SAMPLES = 1024
AUDIO_BITRATE = 48_000
X264 = {
    "preset": "superfast",
    "crf": "27",
    "tune": "fastdecode",
    "threads": "1",
    "x264-params": "threads=1:lookahead-threads=1:sliced-threads=0",
}
BITEXACT = {"fflags": "+bitexact"}
COVERED_SHARE = 0.03
# Share of a broken packet's bytes that is overwritten; its length field and slice header stay.
SPARED_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class MediaNames:
    """File names of a plan's media, relative to the media folder; None where the plan has none."""

    video: str | None
    audio: str | None
    physio: str | None

    @classmethod
    def of(cls, plan: ClipPlan) -> MediaNames:
        """The names a plan's files have; known without rendering."""
        picture = plan.flaw != "no_picture"
        return cls(
            video=f"{plan.file_stem}.mp4" if picture else None,
            audio=None if picture else f"{plan.file_stem}.m4a",
            physio=None if plan.flaw == "no_physio" else f"{plan.file_stem}.parquet",
        )

    def all(self) -> tuple[str, ...]:
        """Those that exist."""
        return tuple(name for name in (self.video, self.audio, self.physio) if name is not None)


def render(plan: ClipPlan, folder: Path) -> str:
    """Writes the files of one plan and returns its name. Cost: about 0.3 s for 5 s of clip."""
    names = MediaNames.of(plan)
    container = names.video or names.audio
    if container is not None:
        with atomic_file(folder / container) as beside:
            _write_container(plan, beside)
            if plan.flaw == "broken_packets":
                _break_packets(plan, beside)
    if names.physio is not None:
        write_table(folder / names.physio, physiology(plan))
    return plan.name


def frame_times(plan: ClipPlan) -> NDArray[np.int64]:
    """Presentation times of the frames in ticks of CLOCK_HZ, strictly rising, the first at 0.

    A variable rate has intervals that jitter by a third and now and then a gap of a third of a second, as phone cameras
    and video calls have.
    """
    step = CLOCK_HZ // plan.frame_rate_hz
    end = round(plan.duration_s * CLOCK_HZ)
    if not plan.variable_rate:
        return np.arange(0, end, step, dtype=np.int64)
    rng = plan.rng(MEDIA)
    count = 2 * end // step
    intervals = step * rng.uniform(0.67, 1.33, count)
    intervals[rng.random(count) < 0.05] += 0.3 * CLOCK_HZ
    times = np.concatenate([[0.0], np.cumsum(intervals)]).astype(np.int64)
    return times[times < end - step // 2]


def _write_container(plan: ClipPlan, path: Path) -> None:
    # The temporary name has no mp4 suffix, so the format is named.
    with av.open(str(path), "w", format="mp4", options=BITEXACT) as container:
        video = None
        if plan.flaw != "no_picture":
            video = container.add_stream("libx264", rate=plan.frame_rate_hz, options=_x264(plan))
            video.width = video.height = plan.picture_px
            video.pix_fmt = "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, CLOCK_HZ)
        audio = None
        if plan.flaw != "no_sound":
            audio = container.add_stream("aac", rate=RATE_HZ, layout="mono", options={"flags": "+bitexact"})
            audio.codec_context.bit_rate = AUDIO_BITRATE
        if audio is not None:
            _write_sound(plan, container, audio)
        if video is not None:
            _write_picture(plan, container, video)


def _x264(plan: ClipPlan) -> dict[str, str]:
    """A keyframe a second, so that a broken stretch does not take the rest of the clip with it."""
    return {**X264, "flags": "+bitexact", "g": str(plan.frame_rate_hz), "sc_threshold": "0"}


def _write_picture(plan: ClipPlan, container: av.container.OutputContainer, stream: av.VideoStream) -> None:
    ticks = frame_times(plan)
    times_s = ticks / CLOCK_HZ
    painter = FacePainter(plan)
    units = action_units(plan, times_s)
    for index, (tick, row, pose) in enumerate(zip(ticks, units, poses(plan, times_s), strict=True)):
        nobody = plan.flaw == "nobody_in_picture"
        picture = painter.empty(index) if nobody else painter.paint(row, pose, index)
        if plan.flaw == "covered_camera" and plan.flaw_start_s <= times_s[index] < plan.flaw_end_s:
            picture = (picture * COVERED_SHARE).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = int(tick)
        frame.time_base = Fraction(1, CLOCK_HZ)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_sound(plan: ClipPlan, container: av.container.OutputContainer, stream: av.AudioStream) -> None:
    samples = speak(plan)
    first = round(plan.audio_start_s * RATE_HZ)
    for start in range(first, samples.size, AAC_SAMPLES):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + AAC_SAMPLES], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        frame.pts = start
        frame.time_base = Fraction(1, RATE_HZ)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _break_packets(plan: ClipPlan, path: Path) -> None:
    """Overwrites the inside of the video packets of a stretch: they keep their length, and the file its index."""
    rng = plan.rng(MEDIA + 100)
    with av.open(str(path), format="mp4") as container:
        stream = container.streams.video[0]
        spans = [
            (packet.pos, packet.size)
            for packet in container.demux(stream)
            if packet.size
            and packet.pts is not None
            and plan.flaw_start_s <= float(packet.pts * packet.time_base) < plan.flaw_end_s
        ]
    with path.open("r+b") as file:
        for position, size in spans:
            if size > 2 * SPARED_BYTES:
                file.seek(position + SPARED_BYTES)
                file.write(rng.bytes(size - SPARED_BYTES))
