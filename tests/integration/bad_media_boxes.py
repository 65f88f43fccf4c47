"""Mp4 files that were cut off at every box, and whose boxes say what cannot be."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from tests.alignment.containers import box, boxes, patched, valid
from tests.integration.bad_media import bytes_of, refused, used

PLAIN, FRONT = valid(".mp4"), valid(".mp4", front=True)  # the index behind the media, and in front of them
VIDEO, SOUND = "moov/trak", "moov/trak#2"
HUGE, LONG = (0xFFFFFFFF).to_bytes(4, "big"), (0x7FFFFFFF).to_bytes(4, "big")


def field(path: str, offset: int, value: bytes, data: bytes = PLAIN) -> bytes:
    """The file with some bytes of a box replaced; `offset` counts from the box's own first byte."""
    return patched(data, box(data, path)[0] + offset, value)


def media_header(track: str) -> str:
    return f"{track}/mdia/mdhd"


def table(track: str, name: str) -> str:
    return f"{track}/mdia/minf/stbl/{name}"


# Cut off where each box begins. Without a whole index nothing is read.
for number, (name, start, _) in enumerate(boxes(PLAIN)):
    code = "truncated" if start else "empty-file"
    refused(f"cut-{number:02d}-{name.replace('/', '.')}.mp4", code, stage="datasets")(bytes_of(PLAIN[:start]))
END_OF_INDEX = box(FRONT, "moov")[1]
for number, (name, start, _) in enumerate(boxes(FRONT)):
    code, stage = "truncated" if start else "empty-file", "alignment" if start >= END_OF_INDEX else "datasets"
    refused(f"front-{number:02d}-{name.replace('/', '.')}.mp4", code, stage=stage)(bytes_of(FRONT[:start]))
used("front-in-mdat.mp4", "ended early")(bytes_of(FRONT[: (END_OF_INDEX + len(FRONT)) // 2]))
used("front-all-but-a-byte.mp4")(bytes_of(FRONT[:-1]))
refused("cut-in-moov.mp4", "truncated", stage="datasets")(bytes_of(PLAIN[:-9]))

# An index that lies.
used("endless-header.mp4")(
    bytes_of(field(media_header(VIDEO), 24, LONG, field("moov/mvhd", 24, LONG, field(f"{VIDEO}/tkhd", 28, LONG))))
)
used("timescale-0.mp4")(bytes_of(field("moov/mvhd", 20, bytes(4))))
used("track-timescale-0.mp4")(bytes_of(field(media_header(VIDEO), 20, bytes(4))))
refused("codec-unknown.mp4", "no-streams")(
    bytes_of(PLAIN.replace(b"avc1", b"zzzz").replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))
)
used("video-codec-unknown.mp4", "the video file holds no picture")(bytes_of(PLAIN.replace(b"avc1", b"zzzz")))
used("sound-codec-unknown.mp4")(bytes_of(PLAIN.replace(b"mp4a", b"zzzz")))
used("codec-tag-of-another.mp4")(bytes_of(PLAIN.replace(b"avc1", b"hvc1")))
used("0x0-track.mp4")(bytes_of(field(f"{VIDEO}/tkhd", 84, bytes(8))))
used("0x0-codec.mp4")(bytes_of(patched(PLAIN, PLAIN.index(b"avc1") + 28, bytes(4))))
used("matrix-of-zeros.mp4")(bytes_of(field(f"{VIDEO}/tkhd", 48, bytes(36))))
used("matrix-of-ones.mp4")(bytes_of(field(f"{VIDEO}/tkhd", 48, b"\xff" * 36)))
refused("samples-4-billion.mp4", "not-media")(bytes_of(field(table(VIDEO, "stsz"), 16, HUGE)))
used("chunks-4-billion.mp4")(bytes_of(field(table(VIDEO, "stco"), 12, HUGE)))
used("times-4-billion.mp4")(bytes_of(field(table(VIDEO, "stts"), 16, HUGE)))
refused("all-at-once.mp4", "timestamps")(bytes_of(field(table(VIDEO, "stts"), 20, bytes(4))))
used("chunks-beyond-the-end.mp4")(bytes_of(field(table(SOUND, "stco"), 16, HUGE)))
used("edit-list-of-nothing.mp4")(bytes_of(field(f"{VIDEO}/edts/elst", 16, bytes(4))))
used("edit-list-far-away.mp4")(bytes_of(field(f"{VIDEO}/edts/elst", 20, b"\x7f" + b"\xff" * 3)))
used("edit-list-backwards.mp4")(bytes_of(field(f"{VIDEO}/edts/elst", 24, b"\x80" + bytes(3))))
used("late-by-days.mp4")(bytes_of(field(f"{VIDEO}/edts/elst", 20, HUGE)))
used("sound-of-no-samples.mp4", "nothing of the sound decodes")(bytes_of(field(table(SOUND, "stts"), 12, bytes(4))))
used("file-elsewhere.mp4")(bytes_of(PLAIN.replace(b"url \x00\x00\x00\x01", b"url \x00\x00\x00\x00")))
refused("box-of-no-size.mp4", "truncated", stage="datasets")(bytes_of(patched(PLAIN, 32, bytes(4))))
refused("box-of-a-byte.mp4", "truncated", stage="datasets")(bytes_of(patched(PLAIN, 32, b"\x00\x00\x00\x02")))
refused("box-of-exabytes.mp4", "truncated", stage="datasets")(
    bytes_of(PLAIN[:32] + b"\x00\x00\x00\x01free" + b"\xff" * 8 + PLAIN[40:])
)
refused("boxes-within-boxes.mp4", "not-media")(
    bytes_of(PLAIN[:32] + b"".join(struct.pack(">I4s", 8 * (5000 - k), b"moov") for k in range(5000)))
)
refused("empty-boxes.mp4", "not-media")(bytes_of(PLAIN[:32] + b"\x00\x00\x00\x08free" * 150_000))
used("two-indices.mp4")(bytes_of(PLAIN + PLAIN[box(PLAIN, "moov")[0] :]))


@refused("index-bomb.mp4", "memory")
def _compressed_index(path: Path) -> None:
    """An index in zlib (QuickTime's `cmov`): a few kilobytes that say they are four billion."""
    packed = zlib.compress(bytes(20_000_000), 1)
    cmvd = struct.pack(">I4sI", 12 + len(packed), b"cmvd", 0xFFFFFFF0) + packed
    cmov = struct.pack(">I4sI4s4s", 20 + len(cmvd), b"cmov", 12, b"dcom", b"zlib") + cmvd
    path.write_bytes(PLAIN[:32] + struct.pack(">I4s", 8 + len(cmov), b"moov") + cmov)


@refused("fragments-of-nothing.mp4", "not-media")
def _fragments(path: Path) -> None:
    path.write_bytes(PLAIN[:32] + struct.pack(">I4s", 8, b"moof") * 20_000)
