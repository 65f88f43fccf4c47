"""One tiny valid file of every container the project reads, and a walk through the boxes of an mp4."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.alignment.media import Picture, tone, write_clip

SIDE = 64
SECONDS = 1.0
FPS = 25.0
# Suffix → how it is written.
KINDS: dict[str, dict[str, Any]] = {
    ".mp4": {},
    ".mov": {"video_codec": "mpeg4"},
    ".mkv": {"audio_codec": "flac"},
    ".webm": {"video_codec": "libvpx", "audio_codec": "libopus"},
    ".avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    ".flv": {"audio_codec": "libmp3lame", "sound_rate_hz": 44_100},
    ".ts": {},
    ".wmv": {"video_codec": "wmv2", "audio_codec": "libmp3lame"},
    ".wav": {"audio_codec": "pcm_s16le"},
    ".flac": {"audio_codec": "flac"},
    ".mp3": {"audio_codec": "libmp3lame"},
    ".ogg": {"audio_codec": "libopus"},
    ".m4a": {"audio_codec": "aac"},
    ".aac": {"audio_codec": "aac"},
    ".aiff": {"audio_codec": "pcm_s16be"},
    ".caf": {"audio_codec": "pcm_s16le"},
}
SOUND_ONLY = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".aac", ".aiff", ".caf")
PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta"}


def moving(count: int, width: int = SIDE, height: int = SIDE, *, seed: int = 0) -> list[Picture]:
    """Pictures that differ from each other and are not flat."""
    y, x = np.mgrid[0:height, 0:width]
    shift = 7 * seed
    frames = [np.stack([x * 3 + 5 * k + shift, y * 3 + 2 * k, x + y + 3 * k], axis=-1) % 256 for k in range(count)]
    return [frame.astype(np.uint8) for frame in frames]


def write(path: Path, *, seed: int = 0, seconds: float = SECONDS, kind: str | None = None, **options: Any) -> Path:
    """A valid file of a container; two seeds give two contents."""
    suffix = kind or path.suffix
    settings = {**KINDS[suffix], **options}
    pictures = [] if suffix in SOUND_ONLY else moving(round(FPS * seconds), seed=seed)
    rate_hz = settings.pop("sound_rate_hz", 48_000)
    sound = tone(seconds, rate_hz, hz=180.0 + 15 * seed)
    return write_clip(path, pictures=pictures, fps=FPS, sound=sound, sound_rate_hz=rate_hz, **settings)


@cache
def valid(suffix: str, *, front: bool = False) -> bytes:
    """The bytes of a valid file; `front` puts the index of an mp4 before its media."""
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / f"valid{suffix}", **({"faststart": True} if front else {})).read_bytes()


def boxes(data: bytes, start: int = 0, end: int | None = None, path: str = "") -> Iterator[tuple[str, int, int]]:
    """(path, first byte, end) of every box of an mp4, parents before their children (ISO/IEC 14496-12, section 4.2)."""
    position, stop = start, min(len(data), len(data) if end is None else end)
    seen: dict[str, int] = {}
    while position + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", data, position)
        size = size or stop - position
        name = kind.decode("latin-1")
        seen[name] = seen.get(name, 0) + 1
        here = f"{path}/{name}" + (f"#{seen[name]}" if seen[name] > 1 else "")
        yield here.lstrip("/"), position, position + size
        if kind in PARENTS:
            yield from boxes(data, position + 8, position + size, here)
        position += max(size, 8)


def box(data: bytes, path: str) -> tuple[int, int]:
    """Where a box lies: (first byte, end)."""
    return next((start, end) for name, start, end in boxes(data) if name == path)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    """The bytes with some of them replaced."""
    return data[:at] + value + data[at + len(value) :]
