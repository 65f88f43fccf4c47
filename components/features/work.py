"""Plans the work of encoding: the aligned clips of a dataset without their media, and the keys still missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.contracts.errors import DataError
from components.contracts.records import AlignedClip, Word
from components.datasets.remote import opened
from components.features.store import feature_key

BASE_COLUMNS = (
    "clip_id",
    "content_sha256",
    "alignment_fingerprint",
    "rate_hz",
    "num_steps",
    "masks",
    "quality",
    "audio_rate_hz",
    "physio_rate_hz",
    "words_source",
)
# The columns that a single modality needs; the rest of a row is not read for it.
MODALITY_COLUMNS: dict[str, tuple[str, ...]] = {
    "face": ("face_jpeg", "face_box"),
    "voice": ("pcm", "speech"),
    "text": ("words",),
    "physio": ("physio",),
}
GIVEN_COLUMNS = ("given",)
_BLANK: dict[str, Any] = {
    "face_jpeg": [],
    "face_box": [],
    "pcm": b"",
    "speech": [],
    "words": [],
    "physio": [],
    "given": [],
}
_SCAN_COLUMNS = [
    "clip_id",
    "content_sha256",
    "alignment_fingerprint",
    "rate_hz",
    "num_steps",
    "masks",
    "quality",
    "given_widths",
]


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """One aligned clip without its media: the place of its row, the modalities with a valid step, and the widths of its
    given features."""

    clip_id: str
    content_sha256: str
    alignment_fingerprint: str
    num_steps: int
    rate_hz: float
    duration_s: float
    present: frozenset[str]
    given_widths: Mapping[str, int]
    shard: str
    row_group: int
    row: int

    def keys(self, fingerprints: Mapping[str, str]) -> dict[str, str]:
        """Modality → feature key, for the present modalities that have an encoder (modality → fingerprint)."""
        return {
            modality: feature_key(self.content_sha256, self.alignment_fingerprint, fingerprint)
            for modality, fingerprint in sorted(fingerprints.items())
            if modality in self.present
        }


@dataclass(frozen=True, kw_only=True)
class EncodingTask:
    """Rows of one row group of an aligned shard (a path, or an address in an object store), and what to encode of each:
    (row, modality, key); with `given`, the rows contain the features ready-made."""

    shard: str
    row_group: int
    items: tuple[tuple[int, str, str], ...]
    given: bool = False

    @property
    def clips(self) -> int:
        """The number of clips in it."""
        return len({row for row, _, _ in self.items})


def scan(folder: Path) -> list[Scanned]:
    """Every aligned clip of a dataset, by clip id. Raises DataError if the folder is missing or a clip occurs twice."""
    if not folder.is_dir():
        raise DataError("there are no aligned clips", where=str(folder), remedy="Run the alignment stage first")
    by_id: dict[str, Scanned] = {}
    for shard in sorted(folder.resolve().glob("shard-*.parquet")):
        with pq.ParquetFile(shard) as file:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=_SCAN_COLUMNS).to_pylist()
                for at, row in enumerate(rows):
                    if row["clip_id"] in by_id:
                        raise DataError("a clip is aligned twice", where=str(folder), seen=row["clip_id"])
                    by_id[row["clip_id"]] = _scanned(row, shard, group, at)
    # A modality that some clip of a dataset provides as given features is never encoded from the media of other clips.
    given = frozenset(modality for clip in by_id.values() for modality in clip.given_widths)
    clips = [by_id[clip_id] for clip_id in sorted(by_id)]
    return [replace(clip, present=clip.present - (given - clip.given_widths.keys())) for clip in clips]


def words_of(clips: Iterable[Scanned]) -> Iterator[tuple[Scanned, tuple[Word, ...]]]:
    """The words of clips; reads nothing else of their shards, a row group at a time."""
    by_group: dict[tuple[str, int], list[Scanned]] = {}
    for clip in clips:
        by_group.setdefault((clip.shard, clip.row_group), []).append(clip)
    for (shard, group), own in sorted(by_group.items()):
        with pq.ParquetFile(shard) as file:
            column = file.read_row_group(group, columns=["words"]).column("words")
        for clip in own:
            yield clip, tuple(Word(**word) for word in column[clip.row].as_py())


def given_widths(clips: Iterable[Scanned]) -> dict[str, int]:
    """Modality → width, of the given features of the clips. Raises DataError if a modality has several widths."""
    widths: dict[str, int] = {}
    for clip in clips:
        for modality, width in clip.given_widths.items():
            if widths.setdefault(modality, width) != width:
                raise DataError(
                    f"the given {modality} has several widths",
                    where=clip.clip_id,
                    seen=width,
                    allowed=widths[modality],
                    remedy="The feature file was changed between two stages: run the datasets stage again",
                )
    return widths


def _scanned(row: Mapping[str, Any], shard: Path, group: int, at: int) -> Scanned:
    return Scanned(
        clip_id=row["clip_id"],
        content_sha256=row["content_sha256"],
        alignment_fingerprint=row["alignment_fingerprint"],
        num_steps=row["num_steps"],
        rate_hz=row["rate_hz"],
        duration_s=row["quality"]["duration_s"],
        present=frozenset(modality for modality, mask in row["masks"] if any(mask)),
        given_widths=dict(row["given_widths"]),
        shard=str(shard),
        row_group=group,
        row=at,
    )


def plan(
    clips: Sequence[Scanned],
    fingerprints: Mapping[str, str],
    held: Mapping[str, Collection[str]],
    *,
    max_clips: int,
    given: bool = False,
) -> list[EncodingTask]:
    """The tasks that encode the missing keys, each once (two clips of equal content share it).

    Args:
        clips: the dataset's clips.
        fingerprints: modality → its encoder's fingerprint.
        held: modality → keys in the store.
        max_clips: the most clips per task.
        given: whether the rows contain these modalities as given features.
    """
    planned: set[str] = set()
    by_group: dict[tuple[str, int], dict[int, list[tuple[int, str, str]]]] = {}
    for clip in clips:
        for modality, key in clip.keys(fingerprints).items():
            if key in held.get(modality, ()) or key in planned:
                continue
            planned.add(key)
            rows = by_group.setdefault((clip.shard, clip.row_group), {})
            rows.setdefault(clip.row, []).append((clip.row, modality, key))
    tasks = []
    for (shard, group), items_of_row in sorted(by_group.items()):
        order = sorted(items_of_row)
        for start in range(0, len(order), max_clips):
            items = [item for row in order[start : start + max_clips] for item in items_of_row[row]]
            tasks.append(EncodingTask(shard=shard, row_group=group, items=tuple(items), given=given))
    return tasks


def read_clips(task: EncodingTask, *, batch_clips: int) -> Iterator[list[tuple[AlignedClip, dict[str, str]]]]:
    """The clips of a task, `batch_clips` at a time, each with modality → key. Streams the row group and reads only the
    columns that the task's modalities need."""
    by_row: dict[int, dict[str, str]] = {}
    for row, modality, key in task.items:
        by_row.setdefault(row, {})[modality] = key
    modalities = {modality for _, modality, _ in task.items}
    of_modality = [MODALITY_COLUMNS[name] for name in sorted(modalities)] if not task.given else [GIVEN_COLUMNS]
    columns = [*BASE_COLUMNS, *(column for names in of_modality for column in names)]
    pending: list[tuple[AlignedClip, dict[str, str]]] = []
    last = max(by_row)
    at = 0
    with opened(task.shard) as source, pq.ParquetFile(source, pre_buffer=True) as file:
        for batch in file.iter_batches(batch_size=batch_clips, row_groups=[task.row_group], columns=columns):
            for offset in (row for row in range(batch.num_rows) if at + row in by_row):
                (row,) = batch.slice(offset, 1).to_pylist()
                pending.append((AlignedClip.from_row({**_BLANK, **row}), by_row[at + offset]))
                if len(pending) == batch_clips:
                    yield pending
                    pending = []
            at += batch.num_rows
            if at > last:
                break
    if pending:
        yield pending
