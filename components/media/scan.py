"""The first pass over a media file, under limits: the sound, and when each picture is shown.

It reads every packet once, decodes the sound and only notes the times of pictures. They determine the clip's clock and
the frame of every step, so that the second pass (`frames.py`) decodes pictures once and converts only those that a step
needs. Of a span of a longer recording (`span.py`) both read the packets from shortly before it to its end, and
nothing else. A packet that does not decode is counted, never papered over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.channels import Mix
from components.media.clocks.clock import intervals
from components.media.clocks.presented import contradicts, decoding_s, stores_decoding
from components.media.clocks.timeline import PLAIN, ClockBreak, StampWatch, Timeline
from components.media.reader import stamp_s
from components.media.sound import Sound, SoundCollector, cut
from components.media.source import (
    check_size,
    declared_s,
    decoded,
    open_media,
    packets_of,
    picture_stream,
    read_timeline,
    sound_stream,
    too_long,
    too_many_frames,
)
from components.media.span import LEAD_S, Span, Window, locate, seek
from components.media.tracks import BY_FLAGS, Choices, Track, picture_tracks, sound_tracks

SAME_TIME_S = 0.0005  # a packet's timestamp and its picture's are the same number; half of the coarsest time base
PADDING_CODECS = ("aac",)
DEFAULT_INTERVAL_S = 0.04  # of a picture stream with a single frame and no duration
DECLARED_RATE_SLACK = 1.01  # a declared rate of 240/1.001 is not measured exactly
LOOK_BACK_S = 2.0  # the picture that a span begins with was first shown at most this long before
KNOWN_TIMELINES = 64
MIN_REORDERED = 3  # pictures of which one can be predicted from a later one
WRITE_ANEW = "Record or export the clip again with a tool that writes timestamps anew"
EDGE_S = 0.05  # sound decoded on either side of a span, so that resampling has its edges outside


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The times of a picture stream, before any picture is decoded.

    Attributes:
        times_s: (N,) when each picture is shown, ascending, on the container's clock.
        end_s: when the last one ends.
        declared_end_s: the end according to the container's header, if it has one.
        timeline: of the file; the times above are on its continuous clock.
        decode_ordered: the file stores when pictures are decoded; they are shown in the codec's order.
        stream: index of the stream in its file, None where they are not of one.
        is_still: this is a single moment, of no length.
    """

    times_s: NDArray[np.float64]
    end_s: float
    declared_end_s: float | None
    timeline: Timeline = PLAIN
    decode_ordered: bool = False
    stream: int | None = None
    is_still: bool = False


@dataclass(frozen=True, kw_only=True)
class FileScan:
    """The result of the first pass over one file.

    `window` is the requested span on the file's clock, and `timeline` makes that clock continuous; `picture_tracks` and
    `sound_tracks` are those of the file; `lossy` are layouts of the sound that FFmpeg's mix loses, with the mix that
    keeps it (`channels`).
    """

    pictures: Pictures | None
    sound: Sound | None
    has_picture_stream: bool
    has_sound_stream: bool
    broke_off: str | None
    window: Window | None = None
    timeline: Timeline = PLAIN
    picture_tracks: tuple[Track, ...] = ()
    sound_tracks: tuple[Track, ...] = ()
    lossy: Mapping[str, Mix] = field(default_factory=dict)


@dataclass
class _PacketTimes:
    """Times of the picture packets of the first pass; `ascend` says that they come in the order of showing, `delayed`
    that some are shown at a different time than decoded; `falling` counts those decoded before the one before them."""

    limits: MediaLimits
    where: str
    window: Window | None = None
    stores_decoding: bool = False
    times: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    ascend: bool = True
    delayed: bool = False
    falling: int = 0
    _last: int | None = None

    def add(self, packet: Any) -> None:
        at_s = stamp_s(packet)
        if at_s is None or (self.window and not self._near(at_s, self.window)):
            return
        self.ascend = self.ascend and (not self.times or at_s > self.times[-1])
        self.delayed = self.delayed or packet.dts is None or packet.pts != packet.dts
        if packet.dts is not None:
            self.falling += self._last is not None and packet.dts < self._last
            self._last = packet.dts
        self.times.append(at_s)
        if self.stores_decoding:
            self.stored.append(decoding_s(packet) or 0.0)
        self.ends.append(at_s + (packet.duration or 0) * float(packet.time_base))
        if len(self.times) > self.limits.max_decoded_frames:
            raise too_many_frames(self.limits, self.where)

    @staticmethod
    def _near(at_s: float, window: Window) -> bool:
        return window.start_s - LOOK_BACK_S <= at_s < window.end_s - SAME_TIME_S

    def pictures(
        self,
        declared_end_s: float | None,
        timeline: Timeline = PLAIN,
        *,
        stream: int | None = None,
        decode_ordered: bool = False,
        may_be_still: bool = False,
    ) -> Pictures | None:
        if not self.times:
            return None
        if 2 * self.falling > len(self.times):
            raise _running_backwards(self.falling, len(self.times), self.where)
        times, ends = np.array(self.times), np.array(self.ends)
        if decode_ordered and self.stored:
            times, ends = np.array(self.stored), ends - times + np.array(self.stored)
        order = np.argsort(times, kind="stable")
        times, ends = times[order], ends[order]
        if self.window is not None:
            # The picture that is shown when the span begins, and those that follow.
            begin = max(0, int(np.searchsorted(times, self.window.start_s + SAME_TIME_S, side="right")) - 1)
            times, ends = times[begin:], ends[begin:]
        spread = intervals(times)
        median_s = spread.median_s if spread else DEFAULT_INTERVAL_S
        if spread and median_s <= 0:
            raise _standing_still(times, self.where)
        if spread and 1.0 / median_s > self.limits.max_frame_rate_hz * DECLARED_RATE_SLACK:
            raise MediaError(
                "the frame rate is too high",
                where=self.where,
                seen=f"{1.0 / median_s:.1f} frames/s",
                allowed=f"at most {self.limits.max_frame_rate_hz:g} frames/s",
                remedy="Convert the clip to a lower frame rate, or raise the max_frame_rate_hz of the limits",
                code=Code.FRAME_RATE,
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
        return Pictures(
            times_s=times,
            end_s=float(end_s),
            declared_end_s=declared_end_s,
            timeline=timeline,
            stream=stream,
            decode_ordered=decode_ordered,
            is_still=may_be_still and times.size == 1,
        )


def scan(
    path: Path,
    limits: MediaLimits,
    *,
    rate_hz: int,
    where: str,
    picture: bool,
    sound: bool,
    span: Span | None = None,
    choices: Choices = BY_FLAGS,
    mixes: Mapping[str, Mix] | None = None,
) -> FileScan:
    """The first pass over a file.

    Args:
        path: the file.
        limits: bounds of memory, size, time and frame count.
        rate_hz: sample rate to which sound is resampled.
        where: the clip, for messages.
        picture, sound: which streams to read.
        span: which part of the recording to read; None for all of it.
        choices: which track to read of several of a kind.
        mixes: layout → mix to one channel, in place of FFmpeg's.

    Raises:
        MediaError: the file cannot be used at all; see `source.open_media`, and `too-long`, `too-many-frames`,
            `frame-rate`, `picture-size`, `no-track`.
    """

    def scanned(timeline: Timeline | None) -> FileScan:
        return _scanned(
            path,
            limits,
            rate_hz=rate_hz,
            where=where,
            picture=picture,
            sound=sound,
            span=span,
            timeline=timeline,
            choices=choices,
            mixes=mixes or {},
        )

    try:
        return scanned(None)
    except ClockBreak:
        status = path.stat()
        try:
            timeline = _timeline(
                path, (status.st_size, status.st_mtime_ns), limits, picture=picture, sound=sound, choices=choices
            )
        except MediaError as error:
            raise error.at(where) from error
        if span is None and (timeline.duration_s or 0.0) > limits.max_duration_s:
            raise too_long(timeline.duration_s or 0.0, limits, where) from None
        return scanned(timeline)


@lru_cache(maxsize=KNOWN_TIMELINES)
def _timeline(
    path: Path, version: tuple[int, int], limits: MediaLimits, *, picture: bool, sound: bool, choices: Choices
) -> Timeline:
    """The timeline of one version of a file. The spans of a recording come one after the other: it is read once."""
    return read_timeline(path, limits, where=path.name, picture=picture, sound=sound, choices=choices)


def _scanned(
    path: Path,
    limits: MediaLimits,
    *,
    rate_hz: int,
    where: str,
    picture: bool,
    sound: bool,
    span: Span | None,
    timeline: Timeline | None,
    choices: Choices,
    mixes: Mapping[str, Mix],
) -> FileScan:
    """`scan` with the file's timeline; with None, raises ClockBreak where a plain one does not do."""
    window = None
    if span is not None:
        window = locate(
            path,
            span,
            limits,
            where=where,
            picture=picture,
            sound=sound,
            timeline=timeline,
            choices=choices,
        )
    clock = timeline or PLAIN
    with open_media(path, limits, where=where, whole_file=span is None) as container:
        if timeline is None and span is None and declared_s(container) > limits.max_duration_s:
            raise ClockBreak  # the header of such a container only subtracts stamps
        video = picture_stream(container, choices.picture, where=where) if picture else None
        audio = sound_stream(container, choices.sound, where=where) if sound else None
        streams = [stream for stream in (video, audio) if stream is not None]
        times = _PacketTimes(limits=limits, where=where, window=window, stores_decoding=stores_decoding(container))
        span_limits = limits.model_copy(update={"max_duration_s": limits.max_duration_s + LEAD_S})  # for a span's edges
        collector = SoundCollector(
            rate_hz=rate_hz, limits=limits if window is None else span_limits, where=where, mixes=mixes
        )
        _prepare(video, audio, limits, where)
        if window is not None and window.seek_s is not None:
            seek(container, streams[0], window.seek_s)
        packets = clock.restamped(packets_of(container, streams, limits, where=where), on_seam=collector.end_run)
        reading = _Reading(
            times=times,
            collector=collector,
            watch=StampWatch() if timeline is None else None,
            video=None if video is None else video.index,
        )
        reading.read(packets, _Reach(window, streams=len(streams)))
        begins = window is None or (window.sound_s is not None and window.start_s <= window.sound_s)
        collected = collector.finish(
            damaged_packets=reading.damaged,
            declared_end_s=_declared_end(audio, window) if clock.is_plain else None,
            codec_frame_s=_codec_frame_s(audio) if begins else 0.0,
        )
        return FileScan(
            pictures=times.pictures(
                _declared_end(video, window) if clock.is_plain else None,
                timeline=clock,
                stream=None if video is None else video.index,
                decode_ordered=_is_decode_ordered(path, video, times, limits, clock),
                # Of a file that was cut off, one picture may be what is left of many.
                may_be_still=window is None and reading.broke_off is None and video is not None and video.frames <= 1,
            ),
            sound=collected if collected is None or window is None else cut(collected, window.start_s, window.end_s),
            has_picture_stream=video is not None,
            has_sound_stream=audio is not None,
            broke_off=reading.broke_off,
            window=window,
            timeline=clock,
            picture_tracks=picture_tracks(container),
            sound_tracks=sound_tracks(container),
            lossy=collector.lossy(),
        )


def _is_decode_ordered(path: Path, video: Any, times: _PacketTimes, limits: MediaLimits, timeline: Timeline) -> bool:
    """Whether the stored times are of decoding: those of a codec that reorders pictures do not ascend otherwise."""
    if not times.ascend or len(times.times) < MIN_REORDERED or not video.codec_context.has_b_frames:
        return False
    if times.stores_decoding:
        return True
    return not times.delayed and contradicts(path, limits, timeline, where=times.where, stream=video.index)


def _running_backwards(falling: int, count: int, where: str) -> MediaError:
    return MediaError(
        "the timestamps of the pictures run backwards",
        where=where,
        seen=f"{falling} of {count} before the one before them",
        allowed="times that ascend",
        remedy=WRITE_ANEW,
        code=Code.TIMESTAMPS,
    )


def _standing_still(times_s: NDArray[np.float64], where: str) -> MediaError:
    return MediaError(
        "most pictures have the same timestamp as the one before",
        where=where,
        seen=f"{np.unique(times_s).size} times for {times_s.size} pictures",
        allowed="a time of its own for each picture",
        remedy=WRITE_ANEW,
        code=Code.TIMESTAMPS,
    )


def _prepare(video: Any | None, audio: Any | None, limits: MediaLimits, where: str) -> None:
    if video is not None:
        size = video.codec_context.width, video.codec_context.height
        if all(size) or audio is None:  # a size beyond the limit reads as 0; a clip with sound is still used
            check_size(*size, limits, where)
    if audio is not None:
        audio.codec_context.thread_count = 1


@dataclass
class _Reading:
    """Reads the packets of the first pass: counts those that are damaged, and says why the file breaks off."""

    times: _PacketTimes
    collector: SoundCollector
    watch: StampWatch | None
    video: int | None
    damaged: int = 0
    broke_off: str | None = None

    def read(self, packets: Iterator[Any], reach: _Reach) -> None:
        """Takes the packets until all streams have passed the window, or the file ends."""
        while not reach.passed():
            try:
                packet = next(packets)
            except StopIteration:
                return
            except MemoryError:
                raise
            except av.error.FFmpegError as error:
                self.broke_off = str(error.strerror)
                return
            if self.watch is not None:
                self.watch.note(packet)
            reach.note(packet)
            if packet.stream.index == self.video:
                self.times.add(packet)
            elif not reach.before(packet):
                self._decode(packet, reach)

    def _decode(self, packet: Any, reach: _Reach) -> None:
        frames = decoded(packet)
        self.damaged += frames is None
        for frame in frames or ():
            if reach.within(frame):
                self.collector.push(frame)


@dataclass
class _Reach:
    """Which packets and frames of the first pass belong to a window, and when both streams have passed it."""

    window: Window | None
    streams: int
    past: set[int] = field(default_factory=set)

    def note(self, packet: Any) -> None:
        """Records how far a packet's stream has been read."""
        if self.window is None or packet.dts is None:
            return
        # Pictures are stored in the order of decoding: later packets are shown no earlier than this.
        if float(packet.dts * packet.time_base) >= self.window.end_s + EDGE_S:
            self.past.add(packet.stream.index)

    def passed(self) -> bool:
        """Whether the window has been read completely: by each stream, since they may lie far apart in a file."""
        return self.streams > 0 and len(self.past) == self.streams

    def before(self, packet: Any) -> bool:
        """Whether a packet of sound lies before the lead that the codec needs."""
        at_s = stamp_s(packet)
        return self.window is not None and at_s is not None and at_s < self.window.start_s - LEAD_S

    def within(self, frame: Any) -> bool:
        """Whether a frame of sound touches the window."""
        if self.window is None or frame.pts is None or not frame.sample_rate:
            return True
        at_s = float(frame.pts * frame.time_base)
        ends_s = at_s + frame.samples / frame.sample_rate
        return ends_s > self.window.start_s - EDGE_S and at_s < self.window.end_s + EDGE_S


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
