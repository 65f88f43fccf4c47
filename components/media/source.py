"""Opens an untrusted media file: the checks that precede the decoding of any packet.

A corpus folder may contain zero-byte files, git-LFS pointers and text files with media names; an upload may be a
playlist that names other files on this machine. Each is refused here with a code of its own:

    missing-file, not-a-file, unreadable, empty-file, lfs-pointer, too-large, truncated, not-media, no-streams,
    too-long, too-slow, memory
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.clocks.timeline import STAMPED, Timeline, timeline_of
from components.media.probe import check_boxes, check_file
from components.media.reader import CONTAINERS, US_PER_S, open_container, readable
from components.media.tracks import BY_FLAG, BY_FLAGS, Choice, Choices, picture_tracks, sound_tracks

LEAST_BYTES_PER_S = 100.0  # half of what the sparest codec of speech takes (AMR at 1.8 kbit/s)


@contextmanager
def open_media(path: Path, limits: MediaLimits, *, where: str, whole_file: bool = True) -> Iterator[Any]:
    """Opens a media file as a PyAV input container under `limits`.

    With `whole_file`, the file may last no longer than a clip; otherwise it may be a longer recording.

    Raises:
        MediaError: see the codes above.
    """
    check_file(path, max_bytes=limits.max_bytes, where=where)
    check_boxes(path, where=where)
    try:
        container = open_container(path, **codec_options(limits))
    except MemoryError as error:
        raise out_of_memory(limits, where) from error
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _unread(path, error, where) from error
    try:
        _check_container(container, path, where)
        if whole_file and limits.max_duration_s < declared_s(container) and _is_credible(container, path):
            raise too_long(declared_s(container), limits, where)
        yield container
    except MemoryError as error:
        raise out_of_memory(limits, where) from error
    finally:
        container.close()


def _unread(path: Path, error: Exception, where: str) -> MediaError:
    # FFmpeg's answer to a format that it recognises, but that `CONTAINERS` does not list.
    unlisted = isinstance(error, av.error.ArgumentError)
    again = "Play it once: if it plays, convert it to mp4, mkv or wav; else export or download it again"
    return MediaError(
        f"{path.name!r} is in a format that is not read here" if unlisted else f"{path.name!r} cannot be read as media",
        where=where,
        seen=reason(error),
        allowed=CONTAINERS.replace(",", ", "),
        remedy="Convert it to mp4, mkv or wav" if unlisted else again,
        code=Code.NOT_MEDIA,
    )


def _is_credible(container: Any, path: Path) -> bool:
    """Whether a header's duration is taken without reading the file: not one that FFmpeg derives from single stamps,
    and not of a file that has too few bytes to last as long."""
    enough = path.stat().st_size >= LEAST_BYTES_PER_S * declared_s(container)
    return bool(container.format.name not in STAMPED and enough)


def _check_container(container: Any, path: Path, where: str) -> None:
    if picture_stream(container) is None and sound_stream(container) is None:
        unknown = ["video"] * len(picture_tracks(container)) + ["audio"] * len(sound_tracks(container))
        if unknown:
            raise MediaError(
                f"{path.name!r} is stored in a codec that is not read here",
                where=where,
                seen=", ".join(f"{kind} without a decoder" for kind in unknown),
                allowed="a codec of FFmpeg, without copy protection",
                remedy="Convert it to H.264 and AAC with the program that made it, or one that plays it",
                code=Code.NO_STREAMS,
            )
        raise MediaError(
            f"{path.name!r} contains neither picture nor sound",
            where=where,
            seen=", ".join(stream.type for stream in container.streams) or "no streams",
            allowed="a video or an audio stream",
            remedy="Export the clip again with its picture or its sound",
            code=Code.NO_STREAMS,
        )


def packets_of(container: Any, streams: Sequence[Any], limits: MediaLimits, *, where: str) -> Iterator[Any]:
    """The packets of some streams in the file's order; at the end an empty one per stream, which flushes its decoder.

    Raises:
        MediaError: `too-slow`, when this thread has worked on them for longer than a clip may take.
        av.error.FFmpegError: the file breaks off.
    """
    until_s = time.thread_time() + limits.max_work_s
    packets = container.demux(*streams) if streams else iter(())
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):  # PyAV fails at the end on streams that began within the file
            return
        if time.thread_time() > until_s:
            raise too_slow(limits, where)
        yield packet


def declared_s(container: Any) -> float:
    """The duration according to the header, 0 without one; of `STAMPED` containers the last stamp minus the first."""
    return float((container.duration or 0) / US_PER_S)


def read_timeline(
    path: Path, limits: MediaLimits, *, where: str, picture: bool, sound: bool, choices: Choices = BY_FLAGS
) -> Timeline:
    """The timeline of a file's picture and sound streams; reads the whole file and decodes none of it."""
    with open_media(path, limits, where=where, whole_file=False) as container:
        chosen = (
            picture_stream(container, choices.picture, where=where) if picture else None,
            sound_stream(container, choices.sound, where=where) if sound else None,
        )
        streams = [stream for stream in chosen if stream is not None]
        return timeline_of(readable(packets_of(container, streams, limits, where=where)))


def decoded(packet: Any) -> list[Any] | None:
    """The frames of a packet, or None where it is damaged."""
    try:
        return list(packet.decode())
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        return None


def codec_options(limits: MediaLimits) -> dict[str, str]:
    """Options of the decoders: a picture beyond the limit is refused before its memory is allocated.

    A packet may hold a larger picture than its container declares, and opening a container decodes a little of it.
    """
    return {"max_pixels": str(limits.max_side_px**2)}


def too_long(duration_s: float, limits: MediaLimits, where: str) -> MediaError:
    """The error for a clip that lasts longer than the limits allow."""
    return MediaError(
        "the clip is too long",
        where=where,
        seen=f"{duration_s:.1f} s",
        allowed=f"at most {limits.max_duration_s:g} s",
        remedy="Cut the clip into parts, or raise the max_duration_s of the limits",
        code=Code.TOO_LONG,
    )


def too_slow(limits: MediaLimits, where: str) -> MediaError:
    """The error for a clip that takes longer to align than the limits allow."""
    return MediaError(
        "the clip takes too long to align",
        where=where,
        seen=f"more than {limits.max_work_s:g} s of processor time",
        allowed=f"at most {limits.max_work_s:g} s",
        remedy="Convert the clip with a different tool, or raise the max_work_s of the limits",
        code=Code.TOO_SLOW,
    )


def out_of_memory(limits: MediaLimits, where: str) -> MediaError:
    """The error for a clip that needs more memory than is available, or than the limits allow."""
    return MediaError(
        "the clip needs too much memory",
        where=where,
        seen="an allocation was refused",
        allowed=f"at most {limits.max_memory_mb} MiB",
        remedy="Cut the clip or convert it to a smaller picture, or raise the max_memory_mb of the limits",
        code=Code.MEMORY,
    )


def check_size(width: int, height: int, limits: MediaLimits, where: str) -> None:
    """Raises MediaError unless both sides are within the limits."""
    if not 0 < max(width, height) <= limits.max_side_px or not min(width, height):
        raise MediaError(
            "the picture is too large" if width and height else "the picture has no size, or one that is too large",
            where=where,
            seen=f"{width}x{height}",
            allowed=f"1 to {limits.max_side_px} pixels per side",
            remedy="Convert the clip to a smaller picture, or raise the max_side_px of the limits",
            code=Code.PICTURE_SIZE,
        )


def too_many_frames(limits: MediaLimits, where: str) -> MediaError:
    """The error for a clip with more pictures than the limits allow."""
    return MediaError(
        "the clip has too many pictures",
        where=where,
        seen=f"more than {limits.max_decoded_frames}",
        allowed=f"at most {limits.max_decoded_frames}",
        remedy="Cut the clip, or raise the max_decoded_frames of the limits",
        code=Code.TOO_MANY_FRAMES,
    )


def picture_stream(container: Any, choice: Choice = BY_FLAG, *, where: str = "") -> Any | None:
    """The chosen video stream that is not cover art and has a known codec, or None. Raises as `Choice.of`."""
    track = choice.of(picture_tracks(container), "picture", where)
    return None if track is None else container.streams[track.index]


def sound_stream(container: Any, choice: Choice = BY_FLAG, *, where: str = "") -> Any | None:
    """The chosen audio stream with a known codec, or None. Raises as `Choice.of`."""
    track = choice.of(sound_tracks(container), "sound", where)
    return None if track is None else container.streams[track.index]


def reason(error: BaseException) -> str:
    """An error's text without the path that FFmpeg appends, so that outputs do not depend on the checkout."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).split(": '", maxsplit=1)[0]
