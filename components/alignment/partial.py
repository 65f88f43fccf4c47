"""Results of an unfinished run, kept so that the next run need not align their clips again.

Results are written as they arrive, in any order, a few clips per file, and each file is named by the SHA-256 of its
bytes, so that a truncated or damaged file is not read. The folder is removed when the stage has written its output. A
result holds for a clip of the same content under the same request (`Refusals.asking`). Failures whose cause may have
passed (`ALWAYS_TRIED`) are not kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.alignment.outcome import ClipOutcome, packed, unpacked
from components.alignment.refused import ALWAYS_TRIED
from components.contracts.atomic import atomic_file
from components.contracts.records import Clip

# A file is written at this many clips or bytes: the most that a killed run loses.
FILE_CLIPS = 16
FILE_BYTES = 8 << 20
SUFFIX = ".arrow"
SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("asked", pa.string(), nullable=False),
        pa.field("row", pa.large_binary()),
        pa.field("quality", pa.string()),
        pa.field("quarantined", pa.string()),
    ]
)


class Partial:
    """The results of one dataset's unfinished run; holds the rows of one file in memory, and the others without media.

    Args:
        folder: of the results; need not exist.
        request_of: clip id → identity of the request, as `Refusals.asking`.
    """

    def __init__(self, folder: Path, request_of: Callable[[str], str]) -> None:
        self._folder, self._request_of = folder, request_of
        self._where: dict[str, tuple[Path, int]] = {}
        self._pending: list[dict[str, Any]] = []
        self._pending_bytes = 0
        self._opened: tuple[Path, pa.ipc.RecordBatchFileReader] | None = None
        self._stored: dict[tuple[str, str, str], tuple[Path, int]] = {}
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if sha256(path.read_bytes()).hexdigest() != path.stem:
                path.unlink()
                continue
            for place, row in enumerate(self._rows(path)):
                self._stored[row["clip_id"], row["content_sha256"], row["asked"]] = (path, place)

    def recall(self, clip: Clip) -> ClipOutcome | None:
        """The result of a clip without its row, or None without a valid one."""
        where = self._stored.get((clip.clip_id, clip.content_sha256, self._request_of(clip.clip_id)))
        if where is None:
            return None
        result = unpacked(clip, {**self._read(*where), "row": None})
        if result.quarantined is not None and result.quarantined.path != clip.main_path:
            return None  # the file has moved: the row must contain its present path
        self._where[clip.clip_id] = where
        return result

    def add(self, result: ClipOutcome) -> ClipOutcome:
        """Keeps a result; returns it without its row."""
        fields = {
            "clip_id": result.clip_id,
            "content_sha256": result.content_sha256,
            "asked": self._request_of(result.clip_id),
            **packed(result),
        }
        if result.quarantined is None or result.quarantined.code not in ALWAYS_TRIED:
            self._pending.append(fields)
            self._pending_bytes += len(fields["row"] or b"")
            if len(self._pending) >= FILE_CLIPS or self._pending_bytes >= FILE_BYTES:
                self.flush()
        return replace(result, row=None)

    def flush(self) -> None:
        """Writes the results in memory to a file."""
        if not self._pending:
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, SCHEMA) as file:
            for fields in self._pending:  # one batch per clip, so that each can be read alone
                file.write_batch(pa.RecordBatch.from_pylist([fields], schema=SCHEMA))
        data = sink.getvalue()
        path = self._folder / f"{sha256(data).hexdigest()}{SUFFIX}"
        with atomic_file(path) as beside:
            beside.write_bytes(data)
        self._where |= {fields["clip_id"]: (path, place) for place, fields in enumerate(self._pending)}
        self._pending, self._pending_bytes = [], 0

    def row(self, clip_id: str) -> pa.Table:
        """The aligned row of a clip that `recall` returned or that was added, a table of one row. Call `flush`
        before."""
        data = self._read(*self._where[clip_id])["row"]
        return pa.ipc.open_stream(data).read_all()

    def clear(self) -> None:
        """Removes the folder: the stage's output contains all of it."""
        self._opened = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _rows(self, path: Path) -> list[dict[str, Any]]:
        names = ["clip_id", "content_sha256", "asked"]
        reader = self._reader(path)
        return [reader.get_batch(at).select(names).to_pylist()[0] for at in range(reader.num_record_batches)]

    def _read(self, path: Path, place: int) -> dict[str, Any]:
        fields: dict[str, Any] = self._reader(path).get_batch(place).to_pylist()[0]
        return fields

    def _reader(self, path: Path) -> pa.ipc.RecordBatchFileReader:
        """Not mapped into memory: pages that were read would count towards this process."""
        if self._opened is None or self._opened[0] != path:
            self._opened = (path, pa.ipc.open_file(pa.OSFile(str(path))))
        return self._opened[1]
