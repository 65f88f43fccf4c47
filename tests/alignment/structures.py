"""Valid files of odd structure, each a pure function of a random generator: where fuzzing of structure begins.

A structure is a line in `STRUCTURES`: it returns the suffix and the bytes of a file that a writer could have made.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.alignment.containers import moving, valid
from tests.alignment.media import MATRIX_AFTER_VERSION, write_sizes

Rng = np.random.Generator
Structure = Callable[[Rng], tuple[str, bytes]]

ONE = 1 << 16  # in the fixed point of a display matrix
ENTRIES = (0, ONE, -ONE, ONE // 2, -2 * ONE, 46341, -46341, 1, -1, (1 << 31) - 1, -(1 << 31))
SIDES = (2, 16, 34, 64, 98, 160)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
SUBFORMAT = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
RATE_HZ, SAMPLES = 8_000, 2_000


def matrix(rng: Rng) -> tuple[str, bytes]:
    """An mp4 whose track headers have any display matrices."""
    data = bytearray(valid(".mp4"))
    at = data.find(b"tkhd")
    while at >= 0:
        entries = [int(entry) for entry in rng.choice(ENTRIES, 9)]
        start = at + 4 + MATRIX_AFTER_VERSION
        data[start : start + 36] = struct.pack(">9i", *entries)
        at = data.find(b"tkhd", at + 4)
    return ".mp4", bytes(data)


def sizes(rng: Rng) -> tuple[str, bytes]:
    """A video whose picture changes its size a few times."""
    suffix, codec = ((".webm", "libvpx"), (".ts", "libx264"))[int(rng.integers(2))]
    parts = [
        moving(3, *(int(side) for side in rng.choice(SIDES, 2)), seed=number) for number in range(rng.integers(2, 5))
    ]
    with tempfile.TemporaryDirectory() as folder:
        return suffix, write_sizes(Path(folder) / f"sizes{suffix}", parts, codec=codec).read_bytes()


def layout(rng: Rng) -> tuple[str, bytes]:
    """A wav of many channels, with any mask of speakers or none, of integers or floating point."""
    channels = int(rng.choice([2, 3, 4, 6, 7, 8, 9, 10, 16, 32, 64, 65, 100]))
    kind, bits = ((PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64))[int(rng.integers(6))]
    mask = int(rng.choice([0, (1 << min(channels, 18)) - 1, int(rng.integers(1 << 18)), (1 << 32) - 1]))
    signal = np.zeros((SAMPLES, channels))
    used = rng.choice(channels, int(rng.integers(1, channels + 1)), replace=False)
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(SAMPLES) / RATE_HZ)
    signal[:, used] = tone[:, None] * rng.choice([-1.0, 1.0, 0.01], used.size)
    body = _samples(signal, kind, bits)
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", EXTENSIBLE, channels, RATE_HZ, RATE_HZ * block, block, bits)
    head += struct.pack("<HHIH", 22, bits, mask, kind) + SUBFORMAT
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(body)) + body
    return ".wav", b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _samples(signal: np.ndarray, kind: int, bits: int) -> bytes:
    if kind == FLOAT:
        return bytes(signal.astype(f"<f{bits // 8}").tobytes())
    if bits == 8:
        return bytes((signal * 127 + 128).astype(np.uint8).tobytes())
    whole = (signal * 0x7FFFFFFF).astype("<i4")
    return bytes(whole.view(np.uint8).reshape(*signal.shape, 4)[..., 4 - bits // 8 :].tobytes())


STRUCTURES: tuple[Structure, ...] = (matrix, sizes, layout)
