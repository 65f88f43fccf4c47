"""Mutated media against the aligner: every file is aligned or refused with a reason; anything else is a defect.

A case is a pure function of its seed: a valid file of one of the containers the project reads, with some bytes flipped,
runs overwritten, length fields edited, boxes or stretches swapped, repeated, cut out or cut off. From the seed
STRUCTURED on it is a file of an odd structure (`structures.py`: display matrices, picture sizes, channel layouts), left
as it is or changed in the same ways. Each is decoded by the aligner in a guarded process, so a crash or a hang is seen
and the run goes on.

    python -m tests.alignment.fuzz --hours 2                  from seed 0 on, until the time is over
    python -m tests.alignment.fuzz --hours 2 --kind stamps    the same with changed times (`stamps.py`)
    python -m tests.alignment.fuzz --hours 1 --first 1048576  odd structures
    python -m tests.alignment.fuzz --first 7 --cases 1        one case again
    python -m tests.alignment.fuzz --write 7 DIR              its file

A failure prints its seed and the file's fingerprint, and the file is kept in `--keep`.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.alignment.guard import Guard
from components.alignment.outcome import ClipOutcome
from components.contracts.codes import Code
from components.contracts.config import Alignment, FaceAlignment, MediaLimits, VoiceAlignment
from components.contracts.errors import MediaError
from components.contracts.fingerprint import file_sha256
from components.media.probe import probe_media, probe_physio
from tests.alignment import stamps
from tests.alignment.containers import KINDS, SOUND_ONLY, boxes, moving, valid
from tests.alignment.structures import STRUCTURES
from tests.builders import make_clip

LIMITS = MediaLimits(max_bytes=10_000_000, max_duration_s=60.0, max_side_px=1024, max_work_s=20.0, max_memory_mb=1024)
CONFIG = Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy"), limits=LIMITS)
DEFECTS = (Code.INTERNAL, Code.CRASHED, Code.TOO_SLOW)
PHYSIO, PICTURES = ".parquet", ".jpg"
SUFFIXES = (*sorted(KINDS), PHYSIO, PICTURES)
STRUCTURED = 1 << 20
HEAD_BYTES = 1024
MAX_FILE_BYTES = 1_000_000
TELLING = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]


@dataclass(frozen=True)
class Failure:
    """What a case did that it must not do."""

    seed: int
    suffix: str
    told: str
    sha256: str


def _place(data: bytes, rng: Rng) -> int:
    """A position: often in the head, where the structure of most containers stands."""
    size = max(len(data), 1)
    return int(rng.integers(min(HEAD_BYTES, size)) if rng.random() < 0.5 else rng.integers(size))


def _stretch(data: bytes, rng: Rng) -> tuple[int, int]:
    start = _place(data, rng)
    return start, min(len(data), start + int(2 ** rng.uniform(0, 12)))


def _flip(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(int(2 ** rng.uniform(0, 6))):
        at = _place(data, rng)
        changed[at : at + 1] = bytes([changed[at] ^ (1 << int(rng.integers(8)))]) if changed else b""
    return bytes(changed)


def _overwrite(data: bytes, rng: Rng) -> bytes:
    start, end = _stretch(data, rng)
    fill = (bytes(end - start), b"\xff" * (end - start), rng.bytes(end - start))[int(rng.integers(3))]
    return data[:start] + fill + data[end:]


def _length(data: bytes, rng: Rng) -> bytes:
    """A number of two, four or eight bytes, either way round, becomes one that parsers stumble over."""
    at, size = _place(data, rng), int(rng.choice([2, 4, 4, 4, 8]))
    value = int(rng.choice(TELLING)) % (1 << 8 * size)
    return data[:at] + value.to_bytes(size, "big" if rng.random() < 0.5 else "little") + data[at + size :]


def _truncate(data: bytes, rng: Rng) -> bytes:
    return data[: _place(data, rng)]


def _cut_out(data: bytes, rng: Rng) -> bytes:
    start, end = _stretch(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, rng: Rng) -> bytes:
    start, end = _stretch(data, rng)
    return data[:end] + data[start:end] * int(2 ** rng.uniform(0, 6)) + data[end:]


def _swap(data: bytes, rng: Rng) -> bytes:
    """Two boxes of an mp4 change places, or two stretches of another container."""
    spans = [(start, end) for _, start, end in boxes(data) if end <= len(data)] if data[4:8] == b"ftyp" else []
    if len(spans) > 1:
        first, second = (spans[int(i)] for i in sorted(rng.choice(len(spans), 2, replace=False)))
    else:
        first, second = sorted((_stretch(data, rng), _stretch(data, rng)))
    if first[1] > second[0]:
        return data
    parts = (data[: first[0]], data[slice(*second)], data[first[1] : second[0]], data[slice(*first)])
    return b"".join((*parts, data[second[1] :]))


def _splice(data: bytes, rng: Rng) -> bytes:
    """The head of one file on the body of another."""
    other = original(str(rng.choice(SUFFIXES)), int(rng.integers(2)))
    return data[: _place(data, rng)] + other[_place(other, rng) :]


MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _flip,
    _overwrite,
    _length,
    _length,
    _truncate,
    _cut_out,
    _repeat,
    _swap,
    _splice,
)


KINDS_OF_CASES: dict[str, tuple[Mutation, ...]] = {"bytes": MUTATIONS, "stamps": stamps.MUTATIONS}


@cache
def original(suffix: str, variant: int = 0) -> bytes:
    """The valid file that is mutated; an mp4 with its index in front in one of two cases."""
    if suffix == PHYSIO:
        time_s = np.arange(128) / 64
        table = pa.table({"time_s": time_s, "ecg": np.sin(time_s), "eda": np.arange(128, dtype=np.int32)})
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd" if variant else "none")
        return sink.getvalue()
    if suffix == PICTURES:
        return bytes(cv2.imencode(".jpg", moving(1)[0])[1].tobytes())
    return valid(suffix, front=bool(variant) and suffix == ".mp4")


def case(seed: int, kind: str = "bytes") -> tuple[str, bytes]:
    """(suffix, bytes) of a case."""
    rng = np.random.default_rng(seed)
    mutations = KINDS_OF_CASES[kind]
    if seed >= STRUCTURED:
        suffix, data = STRUCTURES[int(rng.integers(len(STRUCTURES)))](rng)
        count = int(rng.integers(3))
    else:
        suffix = str(rng.choice(SUFFIXES if kind == "bytes" else stamps.SUFFIXES))
        data = original(suffix, int(rng.integers(2)))
        count = int(rng.integers(1, 4))
    for _ in range(count):
        if data:
            data = mutations[int(rng.integers(len(mutations)))](data, rng)[:MAX_FILE_BYTES]
    return suffix, data


def run_case(seed: int, guard: Guard, folder: Path, kind: str = "bytes") -> tuple[str, Failure | None]:
    """What became of a case, in a word, and the failure if it is one."""
    suffix, data = case(seed, kind)
    if suffix == PICTURES:
        (folder / "case").mkdir(exist_ok=True)
        path = folder / "case" / f"00001{suffix}"
        fields = {"pictures_path": "case", "pictures_rate_hz": 5.0}
    else:
        path = folder / f"case{suffix}"
        kind = "physio_path" if suffix == PHYSIO else "audio_path" if suffix in SOUND_ONLY else "video_path"
        fields = {kind: path.name}
    path.write_bytes(data)
    told = _probe(path, suffix)
    result = guard.result(make_clip(f"case-{seed}", **fields))
    word, wrong = _judge(result)
    wrong = wrong or told
    return word, Failure(seed, suffix, wrong, file_sha256(path)) if wrong else None


def _probe(path: Path, suffix: str) -> str | None:
    """What the first look at a file, in this process, does that it must not do."""
    try:
        (probe_physio if suffix == PHYSIO else probe_media)(path)
    except MediaError:
        return None
    except Exception as error:  # any other one is the finding
        return f"probe: {type(error).__name__}: {error}"
    return None


def _judge(result: ClipOutcome) -> tuple[str, str | None]:
    if result.quarantined is not None:
        code = result.quarantined.code
        return code, f"{code}: {result.quarantined.seen}" if code in DEFECTS else None
    assert result.quality is not None
    shares = dict(result.quality.coverage)
    sane = 0 < result.quality.duration_s <= LIMITS.max_duration_s and all(0 <= share <= 1 for share in shares.values())
    return "aligned", None if sane else f"impossible quality: {result.quality}"


def run(
    seeds: Iterator[int], folder: Path, keep: Path | None, until_s: float, kind: str = "bytes"
) -> tuple[Counter[str], list[Failure]]:
    """Runs cases until the seeds or the time run out."""
    words: Counter[str] = Counter()
    failures = []
    with Guard(CONFIG, folder) as guard:
        for seed in seeds:
            if time.monotonic() > until_s:
                break
            word, failure = run_case(seed, guard, folder, kind)
            words[word] += 1
            if failure is not None:
                failures.append(failure)
                print(
                    f"seed {failure.seed} ({failure.suffix}, sha256 {failure.sha256[:12]}): {failure.told}", flush=True
                )
                if keep is not None:
                    _write(seed, keep, kind)
    return words, failures


def _write(seed: int, folder: Path, kind: str) -> Path:
    suffix, data = case(seed, kind)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"seed-{seed}{suffix}" if kind == "bytes" else f"{kind}-{seed}{suffix}")
    path.write_bytes(data)
    return path


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 where a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, help="for so long")
    parser.add_argument("--cases", type=int, help="so many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kind", choices=sorted(KINDS_OF_CASES), default="bytes", help="what is changed")
    parser.add_argument("--keep", type=Path, help="where the files of failures are kept")
    parser.add_argument("--write", nargs=2, metavar=("SEED", "DIR"), help="only write the file of a case")
    given = parser.parse_args(arguments)
    if given.write:
        print(_write(int(given.write[0]), Path(given.write[1]), given.kind))
        return 0
    if given.hours is None and given.cases is None:
        parser.error("say how long: --hours or --cases")
    last = given.first + given.cases if given.cases is not None else sys.maxsize
    until_s = time.monotonic() + 3600 * given.hours if given.hours is not None else float("inf")
    with tempfile.TemporaryDirectory() as folder:
        words, failures = run(iter(range(given.first, last)), Path(folder), given.keep, until_s, given.kind)
    print(f"{words.total()} cases, {len(failures)} failures: {dict(words.most_common())}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
