"""Locates a span of a longer recording in its file, and the point to seek to so that little before it is decoded.

A corpus of dialogues is a few long files and thousands of utterances. For each utterance the file's first timestamps
are read from its head, and a seek point is searched from which every stream can be decoded at the span's start: a key
frame of the picture before it, and sound that begins early enough for its codec to settle. Where a seek really ended
follows from the packets after it, since containers differ. Without such a point the file is read from its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.contracts.records import Clip
from components.media.clocks.chained import Chain
from components.media.clocks.timeline import STAMPED, ClockBreak, Timeline
from components.media.reader import US_PER_S, readable, stamp_s
from components.media.source import (
    decoded,
    open_media,
    packets_of,
    picture_stream,
    sound_stream,
    too_long,
)
from components.media.tracks import BY_FLAGS, Choices

MIN_DURATION_S = 0.1  # anything shorter decodes to too little picture and sound to be of use
# For codecs that carry state from frame to frame: an AAC frame at 8 kHz is 0.13 s, MP3's bit reservoir up to 0.3 s.
LEAD_S = 0.5
BACK_S = (1.0, 8.0, 30.0)  # how far before the start each try seeks
REORDERED_PACKETS = 17  # H.264 and HEVC show no picture more than 16 pictures away from where it is stored
# Containers whose timestamps after a seek are estimates (MPEG program streams are wrong by up to a group of pictures):
# they are read from the beginning.
UNTIMED = frozenset({"mp3", "aac", "amr", "loas", "mpeg"})


@dataclass(frozen=True, kw_only=True)
class Span:
    """`[start_s, end_s)` of a recording, seconds from its first presentation timestamp; `end_s` None is its end."""

    start_s: float
    end_s: float | None

    @classmethod
    def of(cls, clip: Clip, limits: MediaLimits) -> Span | None:
        """A clip's span, or None where the clip is the whole of its files.

        Raises:
            MediaError: `bad-span` where it has no length or begins before the recording, `too-long`.
        """
        if clip.start_s == 0 and clip.end_s is None:
            return None
        length_s = MIN_DURATION_S if clip.end_s is None else clip.end_s - clip.start_s
        if not (clip.start_s >= 0 and length_s >= MIN_DURATION_S):  # also refuses NaN
            raise MediaError(
                "the clip's span is empty",
                where=clip.clip_id,
                seen=f"{clip.start_s:g} to {clip.end_s:g} s" if clip.end_s is not None else f"from {clip.start_s:g} s",
                allowed=f"a start of 0 or later, and an end at least {MIN_DURATION_S:g} s after it",
                remedy="Mend the times in the corpus's table",
                code=Code.BAD_SPAN,
            )
        if length_s > limits.max_duration_s:
            raise too_long(length_s, limits, clip.clip_id)
        return cls(start_s=clip.start_s, end_s=clip.end_s)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A span on the clock of one file.

    Attributes:
        start_s, end_s: on the container's clock; `end_s` is infinite for a span that ends with the file.
        seek_s: where to seek to so that everything from `start_s` on decodes, or None: read from the beginning.
        picture_seek_s: the same for the pictures alone.
        picture_s, sound_s: first timestamps of the file's streams, None where absent.
        length_s: of the file, according to its header.
    """

    start_s: float
    end_s: float
    seek_s: float | None
    picture_seek_s: float | None
    picture_s: float | None
    sound_s: float | None
    length_s: float | None

    @property
    def late_s(self) -> float:
        """How much later than the picture the sound begins within the span."""
        if self.picture_s is None or self.sound_s is None:
            return 0.0
        return max(self.sound_s, self.start_s) - max(self.picture_s, self.start_s)


def locate(
    path: Path,
    span: Span,
    limits: MediaLimits,
    *,
    where: str,
    picture: bool,
    sound: bool,
    timeline: Timeline | None,
    choices: Choices = BY_FLAGS,
) -> Window:
    """Finds a span in a file; `picture` and `sound` select the streams, `choices` among several of a kind, `timeline`
    is the file's where it was read.

    Raises:
        MediaError: see `source.open_media`.
        ClockBreak: the container's clock may start again before the span, so the timeline has to be read.
    """
    with open_media(path, limits, where=where, whole_file=False) as container:
        if timeline is None and (container.format.name in STAMPED or isinstance(container, Chain)):
            raise ClockBreak
        video = picture_stream(container, choices.picture, where=where) if picture else None
        audio = sound_stream(container, choices.sound, where=where) if sound else None
        streams = [stream for stream in (video, audio) if stream is not None]
        first = _first_times(container, streams, limits, where)
        origin_s = min(first.values(), default=0.0)
        start_s = origin_s + span.start_s
        seek_s = picture_seek_s = None
        if container.format.name not in UNTIMED and (timeline is None or timeline.is_plain):
            seek_s = picture_seek_s = _seek_point(container, streams, first, start_s, limits=limits, where=where)
            if seek_s is None and video is not None:
                picture_seek_s = _seek_point(container, [video], first, start_s, limits=limits, where=where)
        return Window(
            start_s=start_s,
            end_s=float("inf") if span.end_s is None else origin_s + span.end_s,
            seek_s=seek_s,
            picture_seek_s=picture_seek_s,
            picture_s=first.get(video.index) if video is not None else None,
            sound_s=first.get(audio.index) if audio is not None else None,
            length_s=container.duration / US_PER_S if container.duration is not None else None,
        )


def seek(container: Any, lead: Any, time_s: float) -> None:
    """Moves to the last point at or before a time from which the stream `lead` can be decoded."""
    container.seek(int(time_s / lead.time_base), stream=lead, backward=True)


def _first_times(container: Any, streams: Sequence[Any], limits: MediaLimits, where: str) -> dict[int, float]:
    """The first timestamp of each stream by its index: of the first pictures shown, of the first sound that decodes."""
    times: dict[int, float] = {}
    counts = dict.fromkeys((stream.index for stream in streams), 0)
    for packet in readable(packets_of(container, streams, limits, where=where)):
        index = packet.stream.index
        if packet.stream.type == "video":
            at_s = stamp_s(packet)
            counts[index] += 1
            if at_s is not None and counts[index] <= REORDERED_PACKETS:
                times[index] = min(at_s, times.get(index, at_s))
        elif index not in times:
            at_s = _first_sound_s(packet)
            if at_s is not None:
                times[index] = at_s
                counts[index] = REORDERED_PACKETS
        if all(count >= REORDERED_PACKETS for count in counts.values()):
            break
    return times


def _first_sound_s(packet: Any) -> float | None:
    for frame in decoded(packet) or ():
        if frame.samples and frame.pts is not None:
            return float(frame.pts * frame.time_base)
    return None


def _seek_point(
    container: Any, streams: Sequence[Any], first: dict[int, float], start_s: float, *, limits: MediaLimits, where: str
) -> float | None:
    for back_s in BACK_S:
        target_s = start_s - back_s
        if not streams or target_s <= min(first.values(), default=target_s):
            return None
        try:
            seek(container, streams[0], target_s)
        except (av.error.FFmpegError, OverflowError):
            return None
        arrivals = _arrivals(container, streams, limits, where)
        if all(_in_time(stream, arrivals, first, start_s) for stream in streams):
            return target_s
    return None


def _in_time(stream: Any, arrivals: dict[int, float], first: dict[int, float], start_s: float) -> bool:
    """Whether a stream that arrives at these times after a seek decodes from the span's start on."""
    if stream.type == "video":
        return arrivals.get(stream.index, float("inf")) <= start_s
    # Sound that does not arrive has ended before; sound that begins later cannot arrive earlier.
    begins_s = max(start_s - LEAD_S, first.get(stream.index, start_s))
    return arrivals.get(stream.index, -float("inf")) <= begins_s


def _arrivals(container: Any, streams: Sequence[Any], limits: MediaLimits, where: str) -> dict[int, float]:
    """Arrival times after a seek by the stream's index: of the first key frame, and of the first sound.

    Sound may lie anywhere in the file, so where it is missing the file is read to its end.
    """
    times: dict[int, float] = {}
    for packet in readable(packets_of(container, streams, limits, where=where)):
        at_s = stamp_s(packet)
        if at_s is not None and (packet.stream.type == "audio" or packet.is_keyframe):
            times.setdefault(packet.stream.index, at_s)
        if len(times) == len(streams):
            break
    return times
