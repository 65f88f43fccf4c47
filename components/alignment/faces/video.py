"""The face of every step of a video: frames by their timestamps, one track, crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.alignment.faces import small
from components.alignment.faces.crop import Crop
from components.alignment.faces.envelope import Envelope
from components.alignment.faces.face import Faces, FaceTracker, Picture
from components.alignment.streams import Media
from components.contracts.config import MediaLimits
from components.contracts.timebase import Grid
from components.media.clocks.clock import NO_FRAME, frames_of_steps
from components.media.frames import DecodeReport, frames
from components.media.scan import Pictures

NAMED_SIZES = 4


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
    video = _Video(
        path=path,
        pictures=pictures,
        media=media,
        steps_of_frame=steps_of_frame,
        crop=crop,
        sound=sound,
        limits=limits,
        where=where,
    )
    faces, report = video.followed(tracker)
    notes: list[str] = []
    if not faces.mask.any() and video.sizes:
        faces, notes = _small_faces(video, tracker, faces)
    between = (grid.centres_s >= times_s[0]) & (grid.centres_s <= times_s[-1])
    missing_s = int(np.sum(between & (frame_of_step == NO_FRAME))) / grid.rate_hz
    return crop.placed(faces), (*_notes(faces, missing_s, report), *video.size_notes(), *notes)


@dataclass(frozen=True, kw_only=True)
class _Video:
    """A clip's pictures, as often as they are decoded; see `faces_in_video`. `sizes` maps each (width, height) of those
    that were followed, the first one first, to the longer side of the part that is looked at."""

    path: Path
    pictures: Pictures
    media: Media
    steps_of_frame: dict[int, list[int]]
    crop: Crop
    sound: Envelope | None
    limits: MediaLimits
    where: str
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)

    def followed(self, tracker: FaceTracker) -> tuple[Faces, DecodeReport]:
        """The faces that a new tracker follows through all pictures, in pixels of the cropped picture."""
        report = DecodeReport()

        def glance(time_s: float, grey: NDArray[np.uint8]) -> None:
            tracker.glance(time_s - self.media.picture_origin_s, self.crop.cut(grey, []))

        needed = sorted(self.steps_of_frame)
        # Without speech nobody asks what the mouths do.
        for frame, picture in self._shown(needed, report, glance if self.sound is not None else None):
            steps = self.steps_of_frame[frame]
            part = self.crop.cut(picture, steps)
            self.sizes[(picture.shape[1], picture.shape[0])] = max(part.shape[:2])
            time_s = float(self.pictures.times_s[frame] - self.media.picture_origin_s)
            tracker.add(time_s, steps, part)
        return tracker.finish(self.sound), report

    def looks(self) -> Iterator[Picture]:
        """A few of the pictures, spread over the clip."""
        needed = sorted(self.steps_of_frame)
        chosen = [needed[index] for index in small.spread(len(needed))]
        for _, picture in self._shown(chosen, DecodeReport(), None):
            yield self.crop.cut(picture, [])

    def size_notes(self) -> list[str]:
        """A note where the picture changes its size."""
        if len(self.sizes) < 2:
            return []
        names = [f"{width}x{height}" for width, height in self.sizes]
        more = f" and {len(names) - NAMED_SIZES} more" if len(names) > NAMED_SIZES else ""
        return [f"the picture changes its size: {', '.join(names[:NAMED_SIZES])}{more}; shown on one canvas"]

    def _shown(
        self, needed: Sequence[int], report: DecodeReport, glance: Callable[[float, NDArray[np.uint8]], None] | None
    ) -> Iterator[tuple[int, Picture]]:
        shown = frames(
            self.path,
            self.pictures.times_s[np.array(needed, dtype=np.int64)],
            self.limits,
            report,
            where=self.where,
            window=self.media.picture_window,
            timeline=self.pictures.timeline,
            decode_ordered=self.pictures.decode_ordered,
            stream=self.pictures.stream,
            glance=glance,
        )
        for index, picture in shown:
            yield needed[index], picture


def _small_faces(video: _Video, tracker: FaceTracker, faces: Faces) -> tuple[Faces, list[str]]:
    """The small faces of a clip without others, and what to tell of them; see `small`."""
    config = tracker.config
    if config.detector != "mtcnn":
        return faces, []
    longer_px = max(video.sizes.values())
    side_px = config.detect_side_px
    if small.looks_again(longer_px, config):
        side_px = min(config.fine_side_px, longer_px)
        fitting_px = small.fitting_side(video.looks(), tracker.detector, config)
        if fitting_px is not None:
            faces, _ = video.followed(tracker.finer(fitting_px))
            if faces.mask.any():
                limit_px = small.limit_px(longer_px, config.detect_side_px, config)
                return faces, [f"the face is below {limit_px} px and was found in a second, finer look"]
    return faces, [f"faces below {small.limit_px(longer_px, side_px, config)} px are not found"]


def _notes(faces: Faces, missing_s: float, report: DecodeReport) -> tuple[str, ...]:
    notes = []
    if missing_s:
        notes.append(f"pictures are missing for {missing_s:.1f} s")
    if report.dropped_frames or report.damaged_packets:
        notes.append(f"{report.dropped_frames + report.damaged_packets} damaged pictures left out")
    if not faces.mask.any():
        notes.append("no face found")
    elif faces.others:
        notes.append(f"{faces.others + 1} faces seen; {faces.why}")
    return tuple(notes)
