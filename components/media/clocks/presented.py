"""When pictures are shown whose packets tell only when they are decoded.

AVI stores one time per picture, in the order of decoding. A codec that predicts pictures from later ones (B-frames)
gives them out in a different order, that of showing. Its k-th picture is then shown at the k-th of the times.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from components.contracts.config import MediaLimits
from components.media.clocks.timeline import Timeline
from components.media.source import decoded, open_media, packets_of, picture_stream

LOOK_PICTURES = 32  # twice the most pictures that H.264 and HEVC hold back
NOTE = "the file tells when pictures are decoded, not when they are shown; shown in the codec's order"


def decoding_s(packet: Any) -> float | None:
    """When a picture of an AVI file is decoded; FFmpeg makes up the presentation time that it gives beside it."""
    return None if packet.dts is None or packet.is_discard else float(packet.dts * packet.time_base)


def stores_decoding(container: Any) -> bool:
    """Whether a container has one time per picture, that of decoding."""
    return bool(container.format.name == "avi")


def contradicts(path: Path, limits: MediaLimits, timeline: Timeline, *, where: str, stream: int | None = None) -> bool:
    """Whether the pictures that a file begins with come out of the decoder against the order of their times.

    Cost: decodes LOOK_PICTURES; for streams with ascending times from a codec that may reorder.
    """
    last_s, count = -float("inf"), 0
    with open_media(path, limits, where=where, whole_file=False) as container:
        video = picture_stream(container) if stream is None else container.streams[stream]
        if video is None:
            return False
        video.codec_context.thread_count = 1
        for frame in _pictures(timeline.restamped(packets_of(container, [video], limits, where=where))):
            if frame.pts is not None:
                at_s = float(frame.pts * frame.time_base)
                if at_s < last_s:
                    return True
                last_s = at_s
            count += 1
            if count >= LOOK_PICTURES:
                return False
    return False


def _pictures(packets: Iterable[Any]) -> Iterable[Any]:
    try:
        for packet in packets:
            yield from decoded(packet) or ()
    except av.error.FFmpegError:  # a file that breaks off: what came before decides
        return


class PictureTimes:
    """When pictures are shown: at their own stamps."""

    def feed(self, packet: Any) -> None:
        """A packet goes into the decoder."""

    def lose(self, packet: Any) -> None:
        """A packet does not decode."""

    def show(self, frame: Any, *, otherwise_s: float) -> float:
        """When a picture that comes out is shown; `otherwise_s` where nothing tells."""
        return otherwise_s if frame.pts is None else float(frame.pts * frame.time_base)


@dataclass
class DecodingTimes(PictureTimes):
    """The stored times of the pictures in the decoder; each picture that comes out is shown at the earliest of them."""

    stored_s: Callable[[Any], float | None]
    waiting_s: list[float] = field(default_factory=list)

    def feed(self, packet: Any) -> None:
        """Keeps the packet's time."""
        at_s = self.stored_s(packet)
        if packet.size and at_s is not None:
            heapq.heappush(self.waiting_s, at_s)

    def lose(self, packet: Any) -> None:
        """Drops the packet's time: no picture will take it."""
        at_s = self.stored_s(packet)
        if at_s in self.waiting_s:
            self.waiting_s.remove(at_s)
            heapq.heapify(self.waiting_s)

    def show(self, frame: Any, *, otherwise_s: float) -> float:
        """The earliest of the times that are kept."""
        return heapq.heappop(self.waiting_s) if self.waiting_s else otherwise_s
