"""A file or a device as the pieces of a live stream: sound at 16 kHz and pictures, in the order in which they arise.

This decodes what its user names, in the process of its user; what comes out of it is what any client sends.
"""

from __future__ import annotations

import io
import queue
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.pieces import PICTURE, SOUND, Piece
from components.serving.live.protocol import Begin, SoundFormat

SOUND_HZ = 16_000
PICTURES_HZ = 15.0
LONGER_SIDE_PX = 960
QUALITY = 90
WAITING = 400  # pieces that were taken and not yet sent
STANDARD_INPUT = Path("-")
CAMERAS, MICROPHONE = "v4l2", ("default", "alsa")


@dataclass(kw_only=True)
class Source:
    """An opened file or device, its pieces, and what it has: for the first message."""

    begin: Begin
    pieces: Iterator[Piece]
    stop: Callable[[], None]


def opened(path: Path, limits: MediaLimits, *, paced: bool = True) -> Source:
    """A file at its own pace (at once where it is not `paced`), `-` for Matroska, WebM or MPEG-TS from standard input
    as it comes, or a camera with the microphone, where there is one, until `stop`.

    Raises:
        MediaError: it cannot be opened, or has neither picture nor sound.
    """
    feeds = [_Feed(_container(path), limits, paced=paced and path != STANDARD_INPUT and not _is_device(path))]
    if _is_device(path):
        feeds += _microphone(limits)
    sound, pictures = (any(getattr(feed, name) is not None for feed in feeds) for name in ("sound", "picture"))
    if not sound and not pictures:
        raise _unopened(path, "neither picture nor sound")
    capture = _Capture(feeds=feeds)
    begin = Begin(type="begin", sound=SoundFormat(rate_hz=SOUND_HZ) if sound else None, pictures=pictures)
    return Source(begin=begin, pieces=capture.pieces(), stop=capture.stop)


def all_pieces(path: Path, limits: MediaLimits) -> tuple[Begin, list[Piece]]:
    """All pieces of a file at once, and the first message. Raises as `opened`."""
    source = opened(path, limits, paced=False)
    return source.begin, list(source.pieces)


class _Feed:
    """The pieces of one container, with the times of its own clock, from 0."""

    def __init__(self, container: Any, limits: MediaLimits, *, paced: bool) -> None:
        self.paced = paced
        self._container = container
        self.picture = container.streams.best("video")
        self.sound = container.streams.best("audio")
        self._limits = limits

    def pieces(self) -> Iterator[Piece]:
        """Until the container ends or breaks off."""
        import av

        from components.media.upright import Upright

        resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_HZ)
        ratio = 1.0 if self.picture is None else float(self.picture.sample_aspect_ratio or 1)
        upright = Upright(ratio, self._limits)
        origin_s: float | None = None
        shown_s = -1.0
        streams = [stream for stream in (self.picture, self.sound) if stream is not None]
        try:
            for packet in self._container.demux(*streams):
                for frame in packet.decode():
                    if frame.time is None:
                        continue
                    origin_s = frame.time if origin_s is None else origin_s
                    at_s = frame.time - origin_s
                    if isinstance(frame, av.AudioFrame):
                        for block in resampler.resample(frame):
                            if block.time is not None and block.time >= origin_s:
                                samples = block.to_ndarray().tobytes()
                                yield Piece(kind=SOUND, at_s=block.time - origin_s, data=samples)
                    elif at_s >= 0 and at_s - shown_s >= 1.0 / PICTURES_HZ - 1e-3:
                        shown_s = at_s
                        yield Piece(kind=PICTURE, at_s=at_s, data=_jpeg(upright.rgb(frame)))
        except (av.error.FFmpegError, ValueError):
            return
        finally:
            self._container.close()


@dataclass(kw_only=True)
class _Capture:
    """Feeds that are read in threads, and paced where they are files."""

    feeds: list[_Feed]
    _begun: float = field(default_factory=time.monotonic)
    _taken: queue.Queue[Piece | None] = field(default_factory=lambda: queue.Queue(WAITING))
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Ends the pieces."""
        self._stopped.set()

    def pieces(self) -> Iterator[Piece]:
        """Of all feeds as they come."""
        for feed in self.feeds:
            threading.Thread(target=self._read, args=(feed,), daemon=True).start()
        left = len(self.feeds)
        while left:
            piece = self._taken.get()
            if piece is None:
                left -= 1
            else:
                yield piece

    def _read(self, feed: _Feed) -> None:
        started_s: float | None = None
        for piece in feed.pieces():
            if started_s is None:  # two devices have no clock in common but this one
                started_s = time.monotonic() - self._begun if len(self.feeds) > 1 else 0.0
            if feed.paced:
                self._stopped.wait(max(0.0, piece.at_s - (time.monotonic() - self._begun)))
            if self._stopped.is_set():
                break
            self._taken.put(Piece(kind=piece.kind, at_s=started_s + piece.at_s, data=piece.data))
        self._taken.put(None)


def _jpeg(picture: Any) -> bytes:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def _container(path: Path) -> Any:
    import av

    from components.media.probe import check_file
    from components.media.reader import open_container

    try:
        if path == STANDARD_INPUT:
            return av.open(sys.stdin.buffer)
        if _is_device(path):
            return av.open(str(path), format=CAMERAS)
        check_file(path, where=str(path))
        return open_container(path)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _unopened(path, str(error)) from error


def _microphone(limits: MediaLimits) -> list[_Feed]:
    import av

    try:
        return [_Feed(av.open(MICROPHONE[0], format=MICROPHONE[1]), limits, paced=False)]
    except (av.error.FFmpegError, ValueError, OSError):
        return []


def _unopened(path: Path, seen: str) -> MediaError:
    return MediaError(
        "this cannot be opened as a live source",
        where=str(path),
        seen=seen,
        allowed="a video or sound file, a camera such as /dev/video0, or - for standard input",
        remedy="Pipe what FFmpeg captures: ffmpeg -f DEVICES -i DEVICE -f matroska - | mer predict --live -",
        code=Code.NOT_MEDIA,
    )
