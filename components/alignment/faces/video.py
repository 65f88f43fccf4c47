"""The face of every step of a video: frames by their timestamps, one track, crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.alignment.faces.crop import Crop
from components.alignment.faces.envelope import Envelope
from components.alignment.faces.face import Faces, FaceTracker
from components.alignment.streams import Media
from components.contracts.config import MediaLimits
from components.contracts.timebase import Grid
from components.media.clock import NO_FRAME, frames_of_steps
from components.media.frames import DecodeReport, frames
from components.media.scan import Pictures


def faces_in_video(
    path: Path,
    pictures: Pictures,
    media: Media,
    grid: Grid,
    *,
    tracker: FaceTracker,
    crop: Crop,
    sound: Envelope | None,
    limits: MediaLimits,
    where: str,
) -> tuple[Faces, tuple[str, ...]]:
    """The face of every step, and notes for a person.

    Args:
        path: the video.
        pictures: its frame times.
        media: the clip's clock.
        grid: T steps.
        tracker: new, of this grid.
        crop: the part of the picture in which the person is.
        sound: the speech, which picks the speaker among several faces; None where nobody speaks.
        limits: what decoding may cost.
        where: the clip, for messages.
    """
    times_s = pictures.times_s - media.picture_origin_s
    frame_of_step = frames_of_steps(times_s, pictures.end_s - media.picture_origin_s, grid, media.duration_s)
    steps_of_frame: dict[int, list[int]] = {}
    for step, frame in enumerate(frame_of_step):
        if frame != NO_FRAME:
            steps_of_frame.setdefault(int(frame), []).append(step)
    needed = np.array(sorted(steps_of_frame), dtype=np.int64)
    report = DecodeReport()

    def glance(time_s: float, grey: NDArray[np.uint8]) -> None:
        tracker.glance(time_s - media.picture_origin_s, crop.cut(grey, []))

    shown = frames(
        path,
        pictures.times_s[needed],
        limits,
        report,
        where=where,
        window=media.picture_window,
        timeline=pictures.timeline,
        decode_ordered=pictures.decode_ordered,
        glance=glance if sound is not None else None,  # without speech nobody asks what the mouths do
    )
    for index, picture in shown:
        frame = int(needed[index])
        tracker.add(float(times_s[frame]), steps_of_frame[frame], crop.cut(picture, steps_of_frame[frame]))
    faces = crop.placed(tracker.finish(sound))
    between = (grid.centres_s >= times_s[0]) & (grid.centres_s <= times_s[-1])
    return faces, _notes(faces, int(np.sum(between & (frame_of_step == NO_FRAME))), grid, report)


def _notes(faces: Faces, steps_without_picture: int, grid: Grid, report: DecodeReport) -> tuple[str, ...]:
    notes = []
    if steps_without_picture:
        notes.append(f"pictures are missing for {steps_without_picture / grid.rate_hz:.1f} s")
    if report.dropped_frames or report.damaged_packets:
        notes.append(f"{report.dropped_frames + report.damaged_packets} damaged pictures left out")
    if not faces.mask.any():
        notes.append("no face found")
    elif faces.others:
        notes.append(f"{faces.others + 1} faces seen; {faces.why}")
    return tuple(notes)
