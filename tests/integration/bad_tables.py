"""Rows, texts and tables that are broken or hostile: a manifest of them, each with the name of its row and its reason.

`ROWS` go into one JSONL table beside good rows; `PHYSIO` are physiological files that a row names; `ARRAYS` are feature
files, each with the code its clip is set aside with.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.alignment.containers import moving, valid
from tests.alignment.media import tone, wav, write_clip
from tests.integration.bad_media import LFS

GOOD = 16
TABLE = "table.jsonl"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table: its cells beside `clip_id` and `subject`, and the stage and code it ends with."""

    name: str
    cells: dict[str, Any]
    stage: str
    code: str


def at_once(name: str, code: str, **cells: Any) -> Row:
    """A row that the datasets stage refuses."""
    return Row(name=name, cells=cells, stage="datasets", code=code)


def later(name: str, code: str, **cells: Any) -> Row:
    """A row that alignment refuses."""
    return Row(name=name, cells=cells, stage="alignment", code=code)


def used(name: str, **cells: Any) -> Row:
    """A row that is used."""
    return Row(name=name, cells=cells, stage="", code="")


HERE = {"audio": "here.wav"}
ROWS = [
    # Where the media are said to be.
    at_once("gone", "missing-file", audio="gone.wav"),
    at_once("folder", "not-a-file", audio="a-folder.wav"),
    at_once("device", "not-a-file", audio="/dev/zero"),
    at_once("zero-byte", "missing-file", audio="a\0b.wav"),
    at_once("long-path", "missing-file", audio="x" * 5000 + ".wav"),
    at_once("url", "missing-file", video="http://127.0.0.1:9/a.mp4"),
    at_once("protocol", "missing-file", video="concat:here.wav|here.wav"),
    at_once("secret", "not-media", audio="/etc/passwd"),
    at_once("dot", "bad-label", audio="."),
    at_once("upwards", "bad-label", audio=".."),
    at_once("half-a-sign", "bad-name", audio="\ud800.wav"),
    at_once("no-media", "bad-label"),
    later("no-sound", "no-audio", audio="silent-film.mp4"),
    # What is said about them.
    at_once("text-path", "bad-text", **HERE, transcript="words/here.srt"),
    at_once("gloomy", "unknown-emotion", **HERE, emotion="gloomy"),
    at_once("nested", "bad-label", **HERE, emotion={"a": [1]}),
    at_once("list", "bad-label", audio=["here.wav"]),
    at_once("split-list", "bad-label", **HERE, split=["train"]),
    at_once("no-split", "bad-label", **HERE, split="tset"),
    at_once("valence-word", "bad-label", **HERE, valence="high"),
    at_once("valence-3", "bad-label", **HERE, valence=3),
    at_once("start-nan", "bad-label", **HERE, start_s="nan", end_s=1),
    at_once("start-huge", "bad-label", **HERE, start_s=1e308, end_s="1e999"),
    at_once("backwards", "bad-label", **HERE, start_s=2, end_s=1),
    at_once("before-zero", "bad-label", **HERE, start_s=-1, end_s=1),
    at_once("no-end", "bad-label", **HERE, start_s=1),
    used("beyond-the-end", **HERE, start_s=100, end_s=200, emotion="anger"),
    # What is said in them.
    at_once("transcript-number", "bad-text", **HERE, transcript="\0\1\2\3"),
    at_once("transcript-binary", "bad-text", **HERE, transcript=LFS.decode() + "\x7fELF\x02\x01"),
    at_once("transcript-half-a-sign", "bad-text", **HERE, transcript="well \udfff then"),
    at_once("transcript-huge", "bad-text", **HERE, transcript="word " * 400_000),
    at_once("transcript-list", "bad-label", **HERE, transcript=["so", "it", "is"]),
    used("transcript-one-word", **HERE, transcript="y" * 5000),
    used("transcript-of-signs", **HERE, transcript="\u202e \ufeff \u0301\u0301\u0301 👩\u200d🎤"),
    used("transcript-mojibake", **HERE, transcript="GrÃ¶ÃŸe \ufffd\ufffd"),
    at_once("group-half-a-sign", "bad-text", **HERE, group_age="\ud83d"),
]


def table(columns: dict[str, Any], **options: Any) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


TIME = np.arange(128) / 64
ECG = np.sin(TIME)
WHOLE = table({"time_s": TIME, "ecg": ECG})
# Name → bytes of the file, the stage and code its clip ends with.
PHYSIO: dict[str, tuple[bytes, str, str]] = {
    "no-time": (table({"t": TIME, "ecg": ECG}), "alignment", "physio-format"),
    "only-time": (table({"time_s": TIME}), "alignment", "physio-format"),
    "words-for-time": (table({"time_s": TIME.astype(str), "ecg": ECG}), "alignment", "physio-format"),
    "words": (table({"time_s": TIME, "ecg": ["high"] * 128}), "alignment", "physio-format"),
    "nested": (table({"time_s": TIME, "ecg": [[1.0]] * 128}), "alignment", "physio-format"),
    "no-rows": (table({"time_s": TIME[:0], "ecg": ECG[:0]}), "alignment", "no-media"),
    "time-nan": (table({"time_s": TIME * np.nan, "ecg": ECG}), "alignment", "no-media"),
    "values-nan": (table({"time_s": TIME, "ecg": ECG * np.nan}), "alignment", "no-media"),
    "values-infinite": (table({"time_s": TIME, "ecg": ECG + np.inf}), "alignment", "no-media"),
    "values-astronomic": (table({"time_s": TIME, "ecg": ECG + 1e300}), "alignment", "no-media"),
    "time-stands": (table({"time_s": TIME * 0, "ecg": ECG}), "alignment", "no-media"),
    "time-backwards": (table({"time_s": TIME[::-1], "ecg": ECG}), "", ""),
    "time-of-years": (table({"time_s": TIME + 1.7e9, "ecg": ECG}), "alignment", "too-long"),
    "time-days-apart": (table({"time_s": TIME * 86_400, "ecg": ECG}), "alignment", "too-long"),
    "time-picoseconds": (
        table({"time_s": np.append(TIME[1:] * 1e-12, 1.0), "ecg": ECG}),
        "alignment",
        "physio-format",
    ),
    "ten-thousand-channels": (
        table({"time_s": TIME[:2], **{f"c{k}": ECG[:2] for k in range(10_000)}}),
        "alignment",
        "physio-format",
    ),
    "row-bomb": (
        table({"time_s": pa.array(np.zeros(3_000_000)), "ecg": pa.array(np.zeros(3_000_000))}, compression="zstd"),
        "alignment",
        "physio-format",
    ),
    "text-bomb": (
        table({"time_s": np.zeros(2000), "ecg": pa.array(["x" * 50_000] * 2000)}, compression="zstd"),
        "alignment",
        "physio-format",
    ),
    "cut": (WHOLE[: len(WHOLE) // 2], "datasets", "not-parquet"),
    "no-head": (WHOLE[4:], "datasets", "not-parquet"),
    "footer-only": (b"PAR1" + WHOLE[-8:], "alignment", "physio-format"),
    "footer-huge": (WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1", "alignment", "physio-format"),
    "pages-broken": (WHOLE[:40] + bytes(400) + WHOLE[440:], "alignment", "physio-format"),
    "csv": (b"time_s,ecg\n0,1\n", "datasets", "not-parquet"),
    "empty": (b"", "datasets", "empty-file"),
    "pointer": (LFS, "datasets", "lfs-pointer"),
}


def write_manifest(folder: Path, *, bad: bool) -> None:
    """A corpus of `GOOD` rows, and of all the bad ones beside them."""
    folder.mkdir(parents=True)
    rows = []
    for k in range(GOOD):
        wav(folder / f"good-{k:02d}.wav", tone(1.0, 16_000, hz=120 + 10 * k))
        name = f"good-{k:02d}"
        rows.append({"clip_id": name, "subject": f"p{k % 4}", "audio": f"{name}.wav", "emotion": "anger"})
        if k % 2:
            (folder / f"{name}.parquet").write_bytes(table({"time_s": TIME, "ecg": ECG * k}))
            rows[-1] |= {"physio": f"{name}.parquet", "transcript": f"this is number {k}"}
    if bad:
        (folder / "here.wav").write_bytes(valid(".wav"))
        (folder / "a-folder.wav").mkdir()
        (folder / "silent-film.mp4").write_bytes(_silent_film())
        rows += [{"clip_id": row.name, "subject": "someone", **row.cells} for row in ROWS]
        rows.append({"clip_id": "no-subject", "audio": "here.wav"})
        for name, emotion in (("here.wav", "anger"), ("good-00.wav", "fear")):  # one name, two contents
            rows.append({"clip_id": "twice", "subject": "someone", "audio": name, "emotion": emotion})
        for name, (data, _, _) in PHYSIO.items():
            (folder / f"{name}.parquet").write_bytes(data)
            rows.append({"clip_id": f"physio-{name}", "subject": "someone", "physio": f"{name}.parquet"})
    (folder / TABLE).write_text("".join(json.dumps(row) + "\n" for row in rows))


def expected() -> dict[str, tuple[str, str]]:
    """Clip → stage and code of every bad row that is refused."""
    told = {row.name: (row.stage, row.code) for row in ROWS if row.stage}
    told |= {f"physio-{name}": (stage, code) for name, (_, stage, code) in PHYSIO.items() if stage}
    return told | {"no-subject": ("datasets", "bad-label"), "twice": ("datasets", "duplicate-label")}


def used_rows() -> set[str]:
    """The bad rows that are used all the same."""
    physio = {f"physio-{name}" for name, (_, stage, _) in PHYSIO.items() if not stage}
    return {row.name for row in ROWS if not row.stage} | physio


def _silent_film() -> bytes:

    with tempfile.TemporaryDirectory() as place:
        return write_clip(Path(place) / "film.mp4", pictures=moving(10), fps=25.0).read_bytes()


def npy(shape: tuple[int, ...], data: bytes = b"", dtype: str = "<f4") -> bytes:
    """A `.npy` with any header."""
    sink = io.BytesIO()
    np.lib.format.write_array_header_1_0(sink, {"descr": dtype, "fortran_order": False, "shape": shape})
    return sink.getvalue() + data


# Entry of an npz → its bytes and the code its clip is set aside with.
ARRAYS: dict[str, tuple[bytes, str]] = {
    "bomb": (npy((1_000_000, 400), bytes(1_600_000)), "too-large"),
    "wide": (npy((2, 400), bytes(3200)), "width"),
    "claims-terabytes": (npy((1 << 40, 4)), "too-large"),
    "overflows": (npy((1 << 62, 1 << 62)), "too-large"),
    "ends-early": (npy((100, 4), bytes(16)), "features-format"),
    "object": (npy((1,), b"cos\nsystem\n", "|O"), "object-array"),
    "text": (npy((2,), b"a\0\0\0b\0\0\0", "<U1"), "not-numbers"),
    "nothing": (npy((0, 4)), "empty-array"),
    "five-dimensions": (npy((1, 1, 1, 1, 4), bytes(16)), "bad-shape"),
    "nan": (npy((2, 4), np.full(8, np.nan, "<f4").tobytes()), "not-finite"),
    "no-array": (b"PK\x03\x04 this is no npy", "features-format"),
    "minus": (npy((3, 4), bytes(48)).replace(b"(3, 4)", b"(-3,4)"), "features-format"),
}
"""The width of the good ones is 4."""


def write_arrays(path: Path, good: Callable[[int], np.ndarray], names: list[str]) -> None:
    """An npz of good arrays and the bad ones."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, name in enumerate(names):
            sink = io.BytesIO()
            np.save(sink, good(k).astype(np.float32))
            archive.writestr(f"{name}.npy", sink.getvalue())
        for name, (data, _) in ARRAYS.items():
            archive.writestr(f"{name}.npy", data)
