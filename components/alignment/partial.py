"""Results of an unfinished run, kept so that the next run need not align their clips again.

Whoever aligns writes: the actors, or this process where it aligns a few clips itself. Results are written in any order,
a few clips per file, and each file is named by the SHA-256 of its bytes, so that a truncated or damaged file is not
read (`datasets/staged.py`). The process that runs the stage gets receipts, without media, and takes the rows from the
files when it writes its output; then the files are removed. A result holds for a clip of the same content under the
same request (`Refusals.asking`). Failures whose cause may have passed (`ALWAYS_TRIED`) are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from components.alignment.outcome import ClipOutcome, quarantined_of, unpacked
from components.alignment.refused import ALWAYS_TRIED
from components.contracts.fingerprint import file_sha256
from components.contracts.records import Clip
from components.datasets.staged import Staging

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


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A result that was written, without its row.

    Attributes:
        fields: `quality` and `quarantined` as `packed` has them.
        file: its name; None for a failure that is not kept.
        place: of the result in the file.
    """

    clip_id: str
    fields: Mapping[str, Any]
    file: str | None
    place: int


class PartialWriter:
    """Writes results; holds those of one file in memory. A context manager, which writes what is left also after an
    error: it need not be aligned again.

    Args:
        staging: where to.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._pending: list[dict[str, Any]] = []
        self._bytes = 0

    def __enter__(self) -> PartialWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, clip: Clip, asked: str, fields: Mapping[str, Any]) -> list[Receipt]:
        """Takes a result over (`packed`); returns the receipts of those that are written by now.

        Args:
            clip: that was aligned.
            asked: identity of the request, as `Refusals.asking`.
            fields: the result.
        """
        refusal = quarantined_of(fields["quarantined"])
        if refusal is not None and refusal.code in ALWAYS_TRIED:
            return [_receipt(clip.clip_id, fields, None, 0)]
        self._pending.append({"clip_id": clip.clip_id, "content_sha256": clip.content_sha256, "asked": asked, **fields})
        self._bytes += len(fields["row"] or b"")
        return self.flush() if len(self._pending) >= FILE_CLIPS or self._bytes >= FILE_BYTES else []

    def flush(self) -> list[Receipt]:
        """Writes the results in memory to a file; returns their receipts."""
        if not self._pending:
            return []
        results, self._pending, self._bytes = self._pending, [], 0
        name = self._staging.add("", partial(_write, results=results), suffix=SUFFIX)
        return [_receipt(fields["clip_id"], fields, name, place) for place, fields in enumerate(results)]


def _write(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    with pa.ipc.new_file(str(path), SCHEMA) as file:
        for fields in results:  # one batch per clip, so that each can be read alone
            file.write_batch(pa.RecordBatch.from_pylist([fields], schema=SCHEMA))


def _receipt(clip_id: str, fields: Mapping[str, Any], file: str | None, place: int) -> Receipt:
    return Receipt(
        clip_id=clip_id,
        fields={name: fields[name] for name in ("quality", "quarantined")},
        file=file,
        place=place,
    )


class Partial:
    """The results of one dataset's unfinished run.

    Args:
        folder: of the results; need not exist.
        request_of: clip id → identity of the request, as `Refusals.asking`.
    """

    def __init__(self, folder: Path, request_of: Callable[[str], str]) -> None:
        self._folder, self._request_of = folder, request_of
        self._where: dict[str, tuple[Path, int]] = {}
        self._opened: tuple[Path, pa.ipc.RecordBatchFileReader] | None = None
        self._stored: dict[tuple[str, str, str], tuple[Path, int]] = {}
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if file_sha256(path) != path.stem:
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

    def note(self, clip: Clip, receipt: Receipt) -> ClipOutcome:
        """The result of a receipt, without its row, which `row` finds from now on."""
        if receipt.file is not None:
            self._where[clip.clip_id] = (self._folder / receipt.file, receipt.place)
        return unpacked(clip, {**receipt.fields, "row": None})

    def row(self, clip_id: str) -> pa.Table:
        """The aligned row of a clip that `recall` returned or `note` was told of, a table of one row."""
        data = self._read(*self._where[clip_id])["row"]
        return pa.ipc.open_stream(data).read_all()

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
