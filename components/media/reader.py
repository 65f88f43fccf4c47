"""Headers and timestamps of media, read in guarded children.

Nothing is decoded, but opening a file already runs FFmpeg on untrusted data, which may crash or never return.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.clocks.chained import Chain, links_of
from components.media.clocks.timeline import MAX_PACKETS, PLAIN, STAMPED, ClockBreak, StampWatch, Timeline, timeline_of
from components.media.probe import image_format
from components.media.tracks import MAX_TRIED, PICTURE_FILE, Track, picture_tracks, ranked, sound_tracks
from components.runtime.children.guarded import ChildEndedError, Fields, Guarded, Handler

# Self-contained containers only: no playlist, concat script or device, which could read other files or the network.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,asf,wav,w64,aiff,flac,mp3,ogg,aac,caf,amr,nut"
US_PER_S = 1_000_000  # container.duration and container.start_time are microseconds
MAX_FRAMES = 10_000_000  # two days at 60 per second
SERVE = f"{__name__}:serve"
LIMITS = MediaLimits(max_work_s=600.0)  # reading a packet costs a hundredth of decoding it


@dataclass(frozen=True, kw_only=True)
class Header:
    """A file's header: the duration in seconds, None where it has none, and the tracks."""

    duration_s: float | None = None
    picture_tracks: tuple[Track, ...] = ()
    sound_tracks: tuple[Track, ...] = ()


class MediaReader:
    """Reads headers and timestamps of media files. Safe for concurrent threads; each child is started on first use.

    Args:
        children: how many files are read at a time.
    """

    def __init__(self, children: int = 1) -> None:
        self._idle: LifoQueue[Guarded] = LifoQueue()
        for _ in range(children):
            self._idle.put(Guarded(SERVE, {}, LIMITS, bare=True))

    def header(self, path: Path) -> Header:
        """The header of a file; an empty one where it cannot be opened, since alignment will set it aside. A picture
        file is not read."""
        if image_format(path) is not None:
            return Header(picture_tracks=(PICTURE_FILE,))
        try:
            fields, _ = self._request({"do": "header", "path": str(path)}, path)
        except MediaError:
            return Header()
        return Header(
            duration_s=fields["duration_s"],
            picture_tracks=tuple(Track(**track) for track in fields["picture_tracks"]),
            sound_tracks=tuple(Track(**track) for track in fields["sound_tracks"]),
        )

    def times_s(self, path: Path) -> NDArray[np.float64]:
        """(N,) timestamps of the pictures of a file, in the file's order.

        Raises:
            MediaError: `not-media`, `crashed`, `too-slow`, `memory`.
        """
        _, body = self._request({"do": "times", "path": str(path)}, path)
        return np.frombuffer(body or b"", dtype=np.float64)

    def _request(self, request: Fields, path: Path) -> tuple[Fields, bytes | None]:
        child = self._idle.get()
        try:
            return child.ask(request)
        except ChildEndedError as ended:
            if ended.over_work:
                seen = f"more than {LIMITS.max_work_s:g} s of processor time"
                raise refused("reading the video takes too long", path, seen, Code.TOO_SLOW) from ended
            raise refused("reading the video ends the process that does it", path, ended.how, Code.CRASHED) from ended
        finally:
            self._idle.put(child)


def imports(settings: Fields) -> None:
    """What the children import, as `runtime.children.guarded` requires it."""
    import av  # noqa: F401


def serve(settings: Fields) -> Handler:
    """The handler of a child, as `runtime.children.guarded` requires it."""

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        path = Path(request["path"])
        if request["do"] == "times":
            return {}, np.array(_times_s(path), dtype=np.float64).tobytes()
        with _opened(path) as container:
            return {
                "duration_s": _duration_s(path, container),
                "picture_tracks": [asdict(track) for track in picture_tracks(container)],
                "sound_tracks": [asdict(track) for track in sound_tracks(container)],
            }, None

    return handler


def stamp_s(packet: Any) -> float | None:
    """When a packet of a file is shown or heard, or None without a timestamp."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return None if stamp is None or packet.is_discard else float(stamp * packet.time_base)


def refused(what: str, path: Path, seen: str, code: Code) -> MediaError:
    """The error for a video whose frames cannot be counted."""
    return MediaError(
        what,
        where=path.name,
        seen=seen,
        allowed="a video with frames",
        remedy="Convert the video with a different tool, or take its labels out",
        code=code,
    )


def open_container(path: Path, **options: str) -> Any:
    """A media file as a PyAV input container: of `CONTAINERS` alone, and from the disk alone.

    Args:
        path: the file.
        options: further FFmpeg options, for the container and its decoders.

    Raises the errors of PyAV.
    """
    import av

    def opened(source: Any) -> Any:
        settings = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", **options}
        container = av.open(source, options=settings, metadata_errors="replace")
        for stream in (*container.streams.video, *container.streams.audio):
            if stream.codec_context is not None:
                stream.codec_context.options = options
        return container

    links = links_of(path) if path.is_file() else ()
    # With the protocol in front, the name is only a name; a bare `concat:a|b` would be a request.
    return Chain(path, links, opened) if len(links) > 1 else opened(f"file:{path}")


def readable(packets: Iterator[Any]) -> Iterator[Any]:
    """Packets until the file ends or breaks off."""
    import av

    while True:
        try:
            yield next(packets)
        except MemoryError:
            raise
        except (StopIteration, av.error.FFmpegError):
            return


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av

    try:
        with open_container(path) as container:
            yield container
    except MemoryError as error:
        seen = f"more than {LIMITS.max_memory_mb} MiB"
        raise refused("reading the video takes too much memory", path, seen, Code.MEMORY) from error
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise refused("the video cannot be read", path, type(error).__name__, Code.NOT_MEDIA) from error


def _duration_s(path: Path, container: Any) -> float | None:
    """The duration in the header; where the container has none, that of its packets on one clock."""
    if isinstance(container, Chain) or (container.format.name in STAMPED and _clock_breaks(container)):
        with _opened(path) as again:
            joined = timeline_of(_first_packets(again))
        if joined.parts > 1 or joined.wild:
            return joined.duration_s
    return container.duration / US_PER_S if container.duration and container.duration > 0 else None


def _clock_breaks(container: Any) -> bool:
    """Whether the stamps of a file jump. Only its end can show that they do not: a comparison per packet."""
    watch = StampWatch()
    try:
        for packet in itertools.islice(_first_packets(container), MAX_PACKETS):
            watch.note(packet)
    except ClockBreak:
        return True
    return False


def _times_s(path: Path) -> list[float]:
    """The stamps of the picture track that alignment uses on one clock, in the file's order: of the first by its flags
    that is more than a still."""
    first = _track_times_s(path, 0)
    if len(first) > 1:
        return first
    with _opened(path) as container:
        count = min(len(_pictures(container)), MAX_TRIED)
    for rank in range(1, count):
        times_s = _track_times_s(path, rank)
        if len(times_s) > 1:
            return times_s
        first = first or times_s
    return first


def _track_times_s(path: Path, rank: int) -> list[float]:
    try:
        return _stamps_s(path, None, rank)
    except ClockBreak:
        with _opened(path) as container:
            timeline = timeline_of(container.demux(_first_streams(container, rank)))
        return _stamps_s(path, timeline, rank)


def _stamps_s(path: Path, timeline: Timeline | None, rank: int) -> list[float]:
    """`_times_s` with the file's timeline; with None, raises ClockBreak where a plain one does not do."""
    times_s: list[float] = []
    watch = StampWatch() if timeline is None else None
    with _opened(path) as container:
        streams = _pictures(container)[rank : rank + 1]
        for packet in (timeline or PLAIN).restamped(container.demux(streams) if streams else ()):
            if watch is not None:
                watch.note(packet)
            at_s = stamp_s(packet)
            if at_s is not None:
                times_s.append(at_s)
            if len(times_s) > MAX_FRAMES:
                break
    return times_s


def _pictures(container: Any) -> list[Any]:
    """The picture streams by their flags; those without a decoder where there are no others."""
    tracks = picture_tracks(container)
    return [container.streams[track.index] for track in ranked(tracks) or tracks]


def _first_packets(container: Any) -> Iterator[Any]:
    streams = _first_streams(container)
    return readable(container.demux(streams)) if streams else iter(())


def _first_streams(container: Any, rank: int = 0) -> list[Any]:
    sounds = [container.streams[track.index] for track in ranked(sound_tracks(container))[:1]]
    return [*_pictures(container)[rank : rank + 1], *sounds]
