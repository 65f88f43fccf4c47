"""Decoding under limits: one pass for the sound and the picture's timestamps, one for the pictures that are needed.

The first pass reads every packet once, decodes the sound and only notes when each picture is shown. From that the
clip's clock and the frame of every step are known, so the second pass decodes the picture stream once and converts no
frame that no step asked for. Neither pass holds more than one full picture. Of a span of a longer recording
(`span.py`) both read the packets from shortly before it to its end, and nothing else.

Damage is never papered over: a packet that does not decode is counted, and pictures that were predicted from a
damaged one are dropped up to the next key frame; the steps they would have served are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from components.alignment.clock import intervals
from components.alignment.sound import Sound, SoundCollector, cut
from components.alignment.source import decoded, open_media, packets_of, picture_stream, sound_stream, too_long
from components.alignment.span import LEAD_S, Span, Window, locate, seek
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.datasets.media_reader import stamp_s

# Exact conversion: the fast paths round differently from processor to processor.
CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
SAME_TIME_S = 0.0005  # a packet's timestamp and its picture's are the same number; half of the coarsest time base
QUARTER_TURN_DEG = 90
PADDING_CODECS = ("aac",)
# Formats whose first plane is the brightness itself, a byte a pixel.
BRIGHTNESS_FIRST = frozenset(
    {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuva420p", "nv12", "nv21", "gray"}
)
GLANCE_PX = 320  # the longer side of what a glance shows
GLANCE_RATE_HZ = 60.0  # and no more of them a second
SQUARE_PIXELS = 0.01  # pixels this near to square are shown as they are stored,
ODD_PIXELS = 4.0  # and so are those that would be stretched more than this: such a header is damaged
DEFAULT_INTERVAL_S = 0.04  # of a picture stream with a single frame and no duration
DECLARED_RATE_SLACK = 1.01  # a declared 240/1.001 is no 240.2
LOOK_BACK_S = 2.0  # the picture that a span begins with was first shown at most this long before
EDGE_S = 0.05  # sound decoded on either side of a span, so that resampling has its edges outside


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a picture stream holds, before any picture is decoded.

    Attributes:
        times_s: (N,) when each picture is shown, ascending, on the container's clock.
        end_s: when the last one ends.
        declared_end_s: the end that the container's header promises, if it does.
    """

    times_s: NDArray[np.float64]
    end_s: float
    declared_end_s: float | None


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The result of the first pass over one file; `window` is the span that was asked for, on the file's clock."""

    pictures: Pictures | None
    sound: Sound | None
    has_picture_stream: bool
    has_sound_stream: bool
    broke_off: str | None
    window: Window | None = None


@dataclass
class DecodeReport:
    """What the second pass noticed; filled while `frames` is iterated."""

    decoded: int = 0
    damaged_packets: int = 0
    dropped_frames: int = 0


@dataclass
class _PacketTimes:
    """Times of the picture packets of the first pass."""

    limits: MediaLimits
    where: str
    window: Window | None = None
    times: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def add(self, packet: Any) -> None:
        at_s = stamp_s(packet)
        if at_s is None or (self.window and not self._near(at_s, self.window)):
            return
        self.times.append(at_s)
        self.ends.append(at_s + (packet.duration or 0) * float(packet.time_base))
        if len(self.times) > self.limits.max_decoded_frames:
            raise _too_many_frames(self.limits, self.where)

    @staticmethod
    def _near(at_s: float, window: Window) -> bool:
        return window.start_s - LOOK_BACK_S <= at_s < window.end_s - SAME_TIME_S

    def pictures(self, declared_end_s: float | None) -> Pictures | None:
        if not self.times:
            return None
        order = np.argsort(np.array(self.times), kind="stable")
        times, ends = np.array(self.times)[order], np.array(self.ends)[order]
        if self.window is not None:
            # The picture that is to be seen when the span begins, and those that follow.
            begin = max(0, int(np.searchsorted(times, self.window.start_s + SAME_TIME_S, side="right")) - 1)
            times, ends = times[begin:], ends[begin:]
        spread = intervals(times)
        median_s = spread.median_s if spread else DEFAULT_INTERVAL_S
        if spread and 1.0 / max(median_s, 1e-9) > self.limits.max_frame_rate_hz * DECLARED_RATE_SLACK:
            raise MediaError(
                "the frame rate is too high",
                where=self.where,
                seen=f"{1.0 / max(median_s, 1e-9):.1f} frames/s",
                allowed=f"at most {self.limits.max_frame_rate_hz:g} frames/s",
                remedy="Convert the clip to a lower frame rate, or raise the max_frame_rate_hz of the limits",
                code="frame-rate",
            )
        # The header's duration of the last picture may be missing, or a leftover of an edit.
        last = ends[-1] - times[-1]
        end_s = times[-1] + (last if median_s / 4 <= last <= 2 * median_s else median_s)
        start_s = times[0]
        if self.window is not None:
            start_s, end_s = max(start_s, self.window.start_s), min(end_s, self.window.end_s)
            if end_s <= start_s:
                return None
        if end_s - start_s > self.limits.max_duration_s:
            raise too_long(end_s - start_s, self.limits, self.where)
        return Pictures(times_s=times, end_s=float(end_s), declared_end_s=declared_end_s)


def scan(
    path: Path, limits: MediaLimits, *, rate_hz: int, where: str, picture: bool, sound: bool, span: Span | None = None
) -> Scan:
    """The first pass over a file.

    Args:
        path: the file.
        limits: what it may cost.
        rate_hz: sample rate to which sound is resampled.
        where: the clip, for messages.
        picture, sound: which streams are wanted.
        span: which part of the recording is wanted; None for all of it.

    Raises:
        MediaError: the file cannot be used at all; see `source.open_media`, and `too-long`, `too-many-frames`,
            `frame-rate`, `picture-size`.
    """
    window = None if span is None else locate(path, span, limits, where=where, picture=picture, sound=sound)
    with open_media(path, limits, where=where, whole=span is None) as container:
        video = picture_stream(container) if picture else None
        audio = sound_stream(container) if sound else None
        streams = [stream for stream in (video, audio) if stream is not None]
        times = _PacketTimes(limits=limits, where=where, window=window)
        more = limits.model_copy(update={"max_duration_s": limits.max_duration_s + LEAD_S})  # for a span's edges
        collector = SoundCollector(rate_hz=rate_hz, limits=limits if window is None else more, where=where)
        damaged = 0
        broke_off = None
        if video is not None:
            size = video.codec_context.width, video.codec_context.height
            if all(size) or audio is None:  # a size beyond the limit is not told; with sound, the clip is used for that
                _check_size(*size, limits, where)
        if audio is not None:
            audio.codec_context.thread_count = 1
        if window is not None and window.seek_s is not None:
            seek(container, streams[0], window.seek_s)
        packets = packets_of(container, streams, limits, where=where)
        reach = _Reach(window)
        while not reach.passed(streams):
            try:
                packet = next(packets)
            except StopIteration:
                break
            except MemoryError:
                raise
            except av.error.FFmpegError as error:
                broke_off = str(error.strerror)
                break
            reach.note(packet)
            if video is not None and packet.stream.index == video.index:
                times.add(packet)
                continue
            if reach.before(packet):
                continue
            frames = decoded(packet)
            damaged += frames is None
            for frame in frames or ():
                if reach.within(frame):
                    collector.push(frame)
        begins = window is None or (window.sound_s is not None and window.start_s <= window.sound_s)
        heard = collector.finish(
            damaged_packets=damaged,
            declared_end_s=_declared_end(audio, window),
            codec_frame_s=_codec_frame_s(audio) if begins else 0.0,
        )
        return Scan(
            pictures=times.pictures(_declared_end(video, window)),
            sound=heard if heard is None or window is None else cut(heard, window.start_s, window.end_s),
            has_picture_stream=video is not None,
            has_sound_stream=audio is not None,
            broke_off=broke_off,
            window=window,
        )


@dataclass
class _Reach:
    """Which packets and frames of the first pass belong to a window, and when both streams have passed it."""

    window: Window | None
    past: set[int] = field(default_factory=set)

    def note(self, packet: Any) -> None:
        """Takes notice of a packet."""
        if self.window is None or packet.dts is None:
            return
        # Pictures are stored in the order of decoding: whatever comes later is shown no earlier than this.
        if float(packet.dts * packet.time_base) >= self.window.end_s + EDGE_S:
            self.past.add(packet.stream.index)

    def passed(self, streams: Sequence[Any]) -> bool:
        """Whether nothing of the window can come any more. Streams may lie far apart in a file, so each has to say."""
        return bool(streams) and len(self.past) == len(streams)

    def before(self, packet: Any) -> bool:
        """Whether a packet of sound is over before the codec has to be at work."""
        at_s = stamp_s(packet)
        return self.window is not None and at_s is not None and at_s < self.window.start_s - LEAD_S

    def within(self, frame: Any) -> bool:
        """Whether a frame of sound touches the window."""
        if self.window is None or frame.pts is None or not frame.sample_rate:
            return True
        at_s = float(frame.pts * frame.time_base)
        ends_s = at_s + frame.samples / frame.sample_rate
        return ends_s > self.window.start_s - EDGE_S and at_s < self.window.end_s + EDGE_S


def frames(
    path: Path,
    wanted_s: NDArray[np.float64],
    limits: MediaLimits,
    report: DecodeReport,
    *,
    where: str,
    window: Window | None = None,
    glance: Callable[[float, NDArray[np.uint8]], None] | None = None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The second pass: the pictures shown at the wanted times, upright, with square pixels and in RGB.

    Args:
        path: a file with a picture stream.
        wanted_s: (M,) times on the container's clock, ascending, as `scan` gave them.
        limits: what it may cost.
        report: counts what was seen.
        where: the clip, for messages.
        window: the span that the clip is, as `scan` gave it; None is the whole file.
        glance: is shown every picture from the first to the last wanted one, before it is handed out, as its time on
            the container's clock and its brightness (h, w), shrunk to GLANCE_PX; at most GLANCE_RATE_HZ a second.

    Yields:
        (index into `wanted_s`, (H, W, 3) uint8 RGB) for each one that decodes, in their order; a wanted picture that
        is damaged is left out.
    """
    if not wanted_s.size:
        return
    last = -1
    with open_media(path, limits, where=where, whole=window is None) as container:
        video = picture_stream(container)
        if video is None:
            return
        video.codec_context.thread_count = 1
        upright = _Upright(float(video.sample_aspect_ratio or 1), limits)
        due_s = float(wanted_s[0]) - SAME_TIME_S
        from_s = None
        if window is not None and window.picture_seek_s is not None:
            seek(container, video, window.picture_seek_s)
            from_s = float(wanted_s[0])
        for frame in _clean_frames(container, video, limits, report, where=where, from_s=from_s):
            time_s = float(frame.pts * frame.time_base)
            if glance is not None and time_s >= due_s:
                glance(time_s, upright.small(frame))
                due_s = time_s + 1.0 / GLANCE_RATE_HZ - SAME_TIME_S
            index = int(np.argmin(np.abs(wanted_s - time_s)))
            if index > last and abs(wanted_s[index] - time_s) <= SAME_TIME_S:
                last = index
                yield index, upright.rgb(frame)
            if time_s >= wanted_s[-1] - SAME_TIME_S:
                return


@dataclass
class _Damage:
    """Which pictures are damaged, or predicted from a damaged one.

    Pictures come out in the order of time but depend on each other in the order of decoding, so packets are numbered
    as they are fed: from a damaged one on, its whole group of pictures (up to the next key frame) is lost.
    """

    number: int = 0
    group: int = 0
    fed: dict[int | None, tuple[int, int]] = field(default_factory=dict)
    lost_from: dict[int, int] = field(default_factory=dict)

    def feed(self, packet: Any) -> None:
        """Notes a packet that is about to be decoded."""
        self.number += 1
        self.group += bool(packet.is_keyframe)
        self.fed[packet.pts if packet.pts is not None else packet.dts] = (self.number, self.group)

    def mark(self, stamp: int | None) -> None:
        """The packet or picture with this timestamp is damaged."""
        number, group = self.fed.get(stamp, (self.number, self.group))
        self.lost_from[group] = min(number, self.lost_from.get(group, number))

    def spares(self, stamp: int | None) -> bool:
        """Whether the picture with this timestamp can be trusted."""
        number, group = self.fed.get(stamp, (self.number, self.group))
        return number < self.lost_from.get(group, number + 1)


def _clean_frames(
    container: Any, video: Any, limits: MediaLimits, report: DecodeReport, *, where: str, from_s: float | None
) -> Iterator[Any]:
    """Decoded frames with a time, without those that are damaged or predicted from damaged ones.

    After a seek, `from_s` is when the first picture of interest is shown: the report says nothing of earlier ones. What
    comes before the first key frame there, stored or shown, was predicted from pictures before it and is skipped.
    """
    damage = _Damage()
    packets = packets_of(container, [video], limits, where=where)
    key_s = None if from_s is not None else -np.inf
    while True:
        try:
            packet = next(packets)
        except MemoryError:
            raise
        except (StopIteration, av.error.FFmpegError):
            return
        if key_s is None:
            key_s = stamp_s(packet) if packet.is_keyframe else None
        if key_s is None:
            continue
        matters = from_s is None or (stamp_s(packet) or 0.0) >= from_s
        damage.feed(packet)
        frames = decoded(packet)
        if frames is None:
            report.damaged_packets += matters
            damage.mark(packet.pts if packet.pts is not None else packet.dts)
            continue
        for frame in frames:
            report.decoded += 1
            if report.decoded > limits.max_decoded_frames:
                raise _too_many_frames(limits, where)
            _check_size(frame.width, frame.height, limits, where)
            shown_s = key_s if frame.pts is None else float(frame.pts * frame.time_base)
            if shown_s < key_s:
                continue
            if frame.is_corrupt:
                damage.mark(frame.pts)
            if frame.pts is None or not damage.spares(frame.pts):
                report.dropped_frames += from_s is None or shown_s >= from_s
                continue
            yield frame


class _Upright:
    """Frames as a player shows them: turned as the display matrix says (phones write portrait clips sideways), and
    with square pixels (DV and broadcast formats store others; `pixel_ratio` is a pixel's width over its height)."""

    def __init__(self, pixel_ratio: float, limits: MediaLimits) -> None:
        odd = not 1 / ODD_PIXELS <= pixel_ratio <= ODD_PIXELS
        self._ratio = 1.0 if odd or abs(pixel_ratio - 1) <= SQUARE_PIXELS else pixel_ratio
        self._max_side_px = limits.max_side_px
        self._reformatter = VideoReformatter()

    def rgb(self, frame: Any) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return self._turned(frame, self._converted(frame, "rgb24"))

    def small(self, frame: Any) -> NDArray[np.uint8]:
        """(h, w) brightness, the longer side no more than GLANCE_PX."""
        if frame.format.name in BRIGHTNESS_FIRST:
            plane = frame.planes[0]
            grey = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        else:
            grey = self._converted(frame, "gray")
        width, height = self._square(frame.width, frame.height)
        scale = min(1.0, GLANCE_PX / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        # Always a copy: the decoder uses the frame's memory again.
        small = grey.copy() if size == grey.shape[::-1] else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return self._turned(frame, np.asarray(small, dtype=np.uint8))

    def _converted(self, frame: Any, name: str) -> NDArray[np.uint8]:
        width, height = self._square(frame.width, frame.height)
        how = int(CONVERSION)
        converted = self._reformatter.reformat(frame, width, height, format=name, interpolation=how, threads=1)
        return np.asarray(converted.to_ndarray(), dtype=np.uint8)

    def _square(self, width: int, height: int) -> tuple[int, int]:
        """The size with square pixels: the side that is too short grows or, beyond the limit, the other one shrinks."""
        wide, high = round(width * self._ratio), round(height / self._ratio)
        if self._ratio >= 1:
            return (wide, height) if wide <= self._max_side_px else (width, max(1, high))
        return (width, high) if high <= self._max_side_px else (max(1, wide), height)

    @staticmethod
    def _turned(frame: Any, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turns = round(frame.rotation / QUARTER_TURN_DEG) % 4
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _declared_end(stream: Any | None, window: Window | None) -> float | None:
    if stream is None or not stream.duration or stream.time_base is None:
        return None
    end_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return end_s if window is None else min(end_s, window.end_s)


def _codec_frame_s(stream: Any | None) -> float:
    """Length of a frame of a codec that pads its start with one; 0 for others."""
    if stream is None or stream.codec_context.name not in PADDING_CODECS or not stream.codec_context.sample_rate:
        return 0.0
    return float(stream.codec_context.frame_size or 0) / stream.codec_context.sample_rate


def _check_size(width: int, height: int, limits: MediaLimits, where: str) -> None:
    if not 0 < max(width, height) <= limits.max_side_px or not min(width, height):
        raise MediaError(
            "the picture is too large" if width and height else "the picture has no size, or one that is too large",
            where=where,
            seen=f"{width}x{height}",
            allowed=f"1 to {limits.max_side_px} pixels a side",
            remedy="Convert the clip to a smaller picture, or raise the max_side_px of the limits",
            code="picture-size",
        )


def _too_many_frames(limits: MediaLimits, where: str) -> MediaError:
    return MediaError(
        "the clip has too many pictures",
        where=where,
        seen=f"more than {limits.max_decoded_frames}",
        allowed=f"at most {limits.max_decoded_frames}",
        remedy="Cut the clip, or raise the max_decoded_frames of the limits",
        code="too-many-frames",
    )
