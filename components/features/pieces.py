"""What the actors of the features stage write: encoded clips as files of their own, which the stage takes over.

A piece has the rows of a shard (`store.py`) and a row group for each clip, so that the shards are made from pieces by
reading each clip once. Only receipts go back: which keys are stored, or why one is not. So no array passes through the
process that runs the stage, however many actors there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from types import TracebackType

from components.datasets.staged import Staging
from components.features.base import Encoded
from components.features.encode import EncodingResult
from components.features.store import PREFIX, SUFFIX, write_rows

# A piece is written when a modality has this many clips or bytes, and at the end of a task.
PIECE_CLIPS = 256
PIECE_BYTES = 32 << 20


class PieceWriter:
    """Writes results; a context manager, which writes what is left also after an error: it need not be encoded again.

    Args:
        staging: where to.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._waiting: dict[str, list[EncodingResult]] = {}
        self._bytes: dict[str, int] = {}

    def __enter__(self) -> PieceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, results: Iterable[EncodingResult]) -> list[EncodingResult]:
        """Takes results over; returns the receipts of those that are stored by now, and of all that failed.

        A receipt is the result without its features.
        """
        receipts = []
        for result in results:
            if result.encoded is None:
                receipts.append(result)
                continue
            modality = result.modality
            self._waiting.setdefault(modality, []).append(result)
            self._bytes[modality] = self._bytes.get(modality, 0) + result.encoded.values.nbytes
            if self._bytes[modality] >= PIECE_BYTES or len(self._waiting[modality]) >= PIECE_CLIPS:
                receipts += self._write(modality)
        return receipts

    def flush(self) -> list[EncodingResult]:
        """Writes what is left; returns its receipts."""
        return [receipt for modality in sorted(self._waiting) for receipt in self._write(modality)]

    def _write(self, modality: str) -> list[EncodingResult]:
        results, self._bytes[modality] = self._waiting.pop(modality), 0
        items: dict[str, Encoded] = {result.key: result.encoded for result in results if result.encoded is not None}
        write = partial(write_rows, items=sorted(items.items()), group_bytes=1)
        self._staging.add(modality, write, prefix=PREFIX, suffix=SUFFIX)
        return [replace(result, encoded=None) for result in results]
