"""The second pass over a media file, under limits: decodes the pictures that steps need, one at a time.

Damage is never papered over: a packet that does not decode is counted, and pictures that were predicted from a
damaged one are dropped up to the next key frame; the steps they would have served are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.config import MediaLimits
from components.media.clocks.presented import DecodingTimes, PictureTimes, decoding_s, stores_decoding
from components.media.clocks.timeline import PLAIN, Timeline
from components.media.images import image_pictures
from components.media.probe import image_format
from components.media.reader import readable, stamp_s
from components.media.scan import SAME_TIME_S
from components.media.source import (
    check_size,
    decoded,
    open_media,
    packets_of,
    picture_stream,
    too_many_frames,
)
from components.media.span import Window, seek
from components.media.upright import Upright

GLANCE_RATE_HZ = 60.0  # the highest rate of glances


@dataclass
class DecodeReport:
    """Counts of the second pass; filled while `frames` is iterated."""

    decoded: int = 0
    damaged_packets: int = 0
    dropped_frames: int = 0


def frames(
    path: Path,
    requested_s: NDArray[np.float64],
    limits: MediaLimits,
    report: DecodeReport,
    *,
    where: str,
    window: Window | None = None,
    timeline: Timeline = PLAIN,
    decode_ordered: bool = False,
    stream: int | None = None,
    glance: Callable[[float, NDArray[np.uint8]], None] | None = None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The second pass: the pictures shown at the requested times, upright, with square pixels and in RGB.

    Args:
        path: a file with a picture stream.
        requested_s: (M,) times on the container's clock, ascending, as `scan` returned them.
        limits: bounds of memory, size, time and frame count.
        report: receives the counts.
        where: the clip, for messages.
        window: the clip's span of the file, as `scan` returned it; None for the whole file.
        timeline, decode_ordered: of the pictures, as `scan` returned them.
        stream: index of the picture stream, as `scan` returned it; None: the default one.
        glance: called with every picture from the first to the last requested one, before it is yielded: its time on
            the container's clock and its brightness (h, w), shrunk (`Upright.small`); at most GLANCE_RATE_HZ times per
            second.

    Yields:
        (index into `requested_s`, (H, W, 3) uint8 RGB) for each picture that decodes, in time order; damaged ones
        are left out.
    """
    if not requested_s.size:
        return
    if image_format(path) is not None:
        for shown in image_pictures(path, requested_s, limits, where=where, glance=glance):
            report.decoded += 1
            yield shown
        return
    last = -1
    with open_media(path, limits, where=where, whole_file=window is None) as container:
        video = picture_stream(container) if stream is None else container.streams[stream]
        if video is None:
            return
        video.codec_context.thread_count = 1
        upright = Upright(float(video.sample_aspect_ratio or 1), limits)
        due_s = float(requested_s[0]) - SAME_TIME_S
        from_s = None
        if window is not None and window.picture_seek_s is not None:
            seek(container, video, window.picture_seek_s)
            from_s = float(requested_s[0])
        packets = timeline.restamped(packets_of(container, [video], limits, where=where))
        stored_s = decoding_s if stores_decoding(container) else stamp_s
        times = DecodingTimes(stored_s=stored_s) if decode_ordered else PictureTimes()
        for time_s, frame in _clean_frames(packets, limits, report, where=where, from_s=from_s, times=times):
            if glance is not None and time_s >= due_s:
                glance(time_s, upright.small(frame))
                due_s = time_s + 1.0 / GLANCE_RATE_HZ - SAME_TIME_S
            index = int(np.argmin(np.abs(requested_s - time_s)))
            if index > last and abs(requested_s[index] - time_s) <= SAME_TIME_S:
                last = index
                yield index, upright.rgb(frame)
            if time_s >= requested_s[-1] - SAME_TIME_S:
                return


@dataclass
class _Damage:
    """Which pictures are damaged, or predicted from a damaged one.

    Pictures leave the decoder in the order of time but depend on each other in the order of decoding, so packets are
    numbered as they are fed: from a damaged one on, its group of pictures (up to the next key frame) is lost.
    """

    number: int = 0
    group: int = 0
    fed: dict[int | None, tuple[int, int]] = field(default_factory=dict)
    lost_from: dict[int, int] = field(default_factory=dict)

    def feed(self, packet: Any) -> None:
        """Numbers a packet that is about to be decoded."""
        self.number += 1
        self.group += bool(packet.is_keyframe)
        self.fed[packet.pts if packet.pts is not None else packet.dts] = (self.number, self.group)

    def mark(self, stamp: int | None) -> None:
        """Marks the packet or picture with this timestamp as damaged."""
        number, group = self.fed.get(stamp, (self.number, self.group))
        self.lost_from[group] = min(number, self.lost_from.get(group, number))

    def is_intact(self, stamp: int | None) -> bool:
        """Whether the picture with this timestamp is intact."""
        number, group = self.fed.get(stamp, (self.number, self.group))
        return number < self.lost_from.get(group, number + 1)


def _clean_frames(
    packets: Iterator[Any],
    limits: MediaLimits,
    report: DecodeReport,
    *,
    where: str,
    from_s: float | None,
    times: PictureTimes,
) -> Iterator[tuple[float, Any]]:
    """Decoded frames with their time, without those that are damaged or predicted from damaged ones.

    After a seek, `from_s` is when the first requested picture is shown: damage to earlier ones is not counted. Pictures
    before the first key frame there, stored or shown, were predicted from pictures before the seek and are skipped.
    `times` says when each is shown.
    """
    damage = _Damage()
    key_s = None if from_s is not None else -np.inf
    for packet in readable(packets):
        if key_s is None:
            key_s = stamp_s(packet) if packet.is_keyframe else None
        if key_s is None:
            continue
        counted = from_s is None or (stamp_s(packet) or 0.0) >= from_s
        damage.feed(packet)
        times.feed(packet)
        shown = decoded(packet)
        if shown is None:
            report.damaged_packets += counted
            damage.mark(packet.pts if packet.pts is not None else packet.dts)
            times.lose(packet)
            continue
        for frame in shown:
            report.decoded += 1
            if report.decoded > limits.max_decoded_frames:
                raise too_many_frames(limits, where)
            check_size(frame.width, frame.height, limits, where)
            shown_s = times.show(frame, otherwise_s=key_s)
            if shown_s < key_s:
                continue
            if frame.is_corrupt:
                damage.mark(frame.pts)
            if frame.pts is None or not damage.is_intact(frame.pts):
                report.dropped_frames += from_s is None or shown_s >= from_s
                continue
            yield shown_s, frame
