"""Timestamps that do not say when: the packets of one flv, stamped anew."""

from __future__ import annotations

from collections.abc import Callable

from tests.alignment.containers import valid
from tests.integration.bad_media import bytes_of, refused, used

FLV = valid(".flv")
HEAD_BYTES, TAG_BYTES, SIZE_BYTES = 13, 11, 4
VIDEO_TAG = 9
DAY_MS = 86_400_000


def stamped(stamp: Callable[[int, int, int], int]) -> bytes:
    """The file with other timestamps: `stamp(kind, number, milliseconds)` of each tag but the first of each kind."""
    data, at, counts = bytearray(FLV), HEAD_BYTES, {}
    while at + TAG_BYTES < len(data):
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        now = int.from_bytes(data[at + 7 : at + 8] + data[at + 4 : at + 7], "big")
        counts[kind] = counts.get(kind, -1) + 1
        new = (stamp(kind, counts[kind], now) if counts[kind] else now) & 0xFFFFFFFF
        data[at + 4 : at + 8] = (new & 0xFFFFFF).to_bytes(3, "big") + bytes([new >> 24])
        at += TAG_BYTES + size + SIZE_BYTES
    return bytes(data)


refused("backwards.flv", "timestamps")(bytes_of(stamped(lambda kind, number, now: 5000 - now)))
refused("all-equal.flv", "timestamps")(bytes_of(stamped(lambda kind, number, now: 0)))
used("negative.flv", "the file's clock starts again")(bytes_of(stamped(lambda kind, number, now: now - 5000)))
used("jumps-by-days.flv", "the file's clock starts again")(
    bytes_of(stamped(lambda kind, number, now: now + DAY_MS * (number > 10)))
)
used("sound-days-later.flv", "the file's clock starts again")(
    bytes_of(stamped(lambda kind, number, now: now + DAY_MS * (kind != VIDEO_TAG)))
)
refused("shuffled.flv", "timestamps")(bytes_of(stamped(lambda kind, number, now: (now * 7919) % 1000)))
refused("sound-half-a-minute-later.flv", "coverage")(
    bytes_of(stamped(lambda kind, number, now: now + 30_000 * (kind != VIDEO_TAG)))
)
refused("years.flv", "timestamps")(bytes_of(stamped(lambda kind, number, now: 0x7FFFFFFF - number)))
used("weeks-later.flv", "timestamps far off those around them")(
    bytes_of(stamped(lambda kind, number, now: 0x7FFFFFFF - 60_000 + now))
)
used("weeks-later-no-duration.flv", "timestamps far off those around them")(
    bytes_of(stamped(lambda kind, number, now: 0x7FFFFFFF - 60_000 + now).replace(b"duration", b"notation"))
)
used("slow-sound.flv")(bytes_of(stamped(lambda kind, number, now: now * 2 if kind != VIDEO_TAG else now)))
