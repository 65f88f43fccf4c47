"""The alignment stage: a Ray Data map over the clip table, a pool of aligners, one row per clip.

Incremental: a row whose clip, content and alignment fingerprint are unchanged is taken over from the earlier shards;
only the others pass through Ray. Results are stored as they arrive (`partial.py`), so that a killed run is resumed
where it ended; when all clips are done, the shards are written in one go. Actors write results themselves, below
`.mer/partial` or, with `runtime.store`, into an object store, from which they have the media too (`lent.py`), so nodes
need not share a folder; this process gets receipts. A clip that cannot be aligned becomes a
quarantine row and the run continues, even where the clip crashes the decoder: every clip with media is aligned in a
guarded process (`guard.py`). It is not tried again before something about it changes (`refused.py`).
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.alignment.chunks import chunks
from components.alignment.fingerprint import alignment_fingerprint
from components.alignment.guard import Guard
from components.alignment.lent import LentMedia, lend_media
from components.alignment.outcome import STAGE, ClipOutcome, align_one, as_text, judged, packed, quarantined_of
from components.alignment.partial import Partial, PartialWriter, Receipt
from components.alignment.refused import FILE as REFUSED
from components.alignment.refused import Refusals
from components.alignment.shards import ShardWriter, StoredRow, linked, shard_rows, stored_in
from components.contracts.atomic import atomic_dir, write_json, write_table
from components.contracts.codes import Code
from components.contracts.config import Alignment, RayResources, Runtime
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.readmitted import Decisions, read_decisions
from components.contracts.records import QUALITY_TYPE, Clip, Quality, Quarantined, clips_of, quarantine_table
from components.datasets.remote import bring
from components.datasets.staged import Staging
from components.runtime.cluster import connect
from components.runtime.progress import progress
from components.runtime.stream import blocks_of, streaming

# The most clips that an actor takes at a time; handing out a block costs as much as a tenth of a short clip.
BATCH_CLIPS = 8
TASKS_IN_FLIGHT = 2  # an actor works on one and already holds the next
# Starting Ray and its actors costs more than aligning this many clips in this process; the code is the same.
IN_PROCESS_CLIPS = 8
RECEIPT_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("quality", pa.string()),
        pa.field("quarantined", pa.string()),
        pa.field("file", pa.string()),
        pa.field("place", pa.int64(), nullable=False),
    ]
)
QUALITY_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("passed", pa.bool_(), nullable=False),
        *QUALITY_TYPE,
    ]
)


def run(name: str, layout: Layout, *, alignment: Alignment, ray: RayResources, runtime: Runtime) -> dict[str, Any]:
    """Aligns the clips of a dataset and writes `data/aligned/<name>/`.

    Returns:
        The content of `summary.json`, and `aligned_now`: how many clips passed through the aligner.

    Raises:
        ConfigError: `runtime.store` is not an address.
        DataError: the clip table is missing, or the object store fails.
        UnavailableError: weights that the configuration needs are not installed.
    """
    clips = {clip.clip_id: clip for clip in _clips(layout.dataset(name) / "clips.parquet", name)}
    folder = layout.aligned(name)
    current = alignment_fingerprint(alignment)
    decisions = read_decisions(layout.decisions(name, STAGE))
    stored = stored_in(folder)
    kept = {row.clip_id: row for row in stored if _holds(row, clips.get(row.clip_id), current)}
    refusals = Refusals(folder, alignment, decisions)
    refused = _refused((clip for clip in clips.values() if clip.clip_id not in kept), refusals, alignment, decisions)
    missing = [clip for clip in clips.values() if clip.clip_id not in kept and clip.clip_id not in refused]
    staging = Staging.of(layout.partial(STAGE, name), store=runtime.store, stage=STAGE, name=name)
    staging.bring()
    partial = Partial(staging.folder, refusals.asking)
    done = {clip.clip_id: result for clip in missing if (result := partial.recall(clip)) is not None}
    if done:
        print(f"align {name}: {len(done)} clips were aligned before the run was interrupted", file=sys.stderr)
    remaining = [clip for clip in missing if clip.clip_id not in done]
    if remaining:
        staging.prepare()
        waiting = {clip.clip_id: clip for clip in remaining}
        for receipt in _aligned(
            remaining, layout.root, name, alignment=alignment, ray=ray, staging=staging, refusals=refusals
        ):
            done[receipt.clip_id] = partial.note(waiting[receipt.clip_id], receipt)
        staging.bring()
    outcomes = {**{row.clip_id: _result(row) for row in kept.values()}, **refused, **done}
    results = [judged(clip, outcomes[clip.clip_id], alignment, decisions) for clip in clips.values()]
    with atomic_dir(folder) as beside:
        passed = [result.clip_id for result in results if result.quarantined is None]
        first = linked(stored, passed, kept.keys(), beside)
        with ShardWriter(beside, first=len(first)) as shards:
            shards.write_all(_rows(stored, passed, kept.keys(), partial, without=first))
        summary = _write(name, beside, results, current, refusals)
    staging.clear()
    return {**summary, "aligned_now": len(remaining)}


def _holds(row: StoredRow, clip: Clip | None, current: str) -> bool:
    return clip is not None and (row.content_sha256, row.alignment_fingerprint) == (clip.content_sha256, current)


def _result(row: StoredRow) -> ClipOutcome:
    """A row of earlier shards that still holds; it passes the gate again, which may have changed since."""
    return ClipOutcome(clip_id=row.clip_id, content_sha256=row.content_sha256, quality=row.quality)


def _rows(
    stored: Sequence[StoredRow], passed: Sequence[str], kept: Set[str], partial: Partial, *, without: Sequence[Path]
) -> Iterator[pa.Table]:
    """The rows to write, in order, except those of the shards `without`; reads a row group of each source at a time."""
    linked_ids = {row.clip_id for row in stored if row.shard in without}
    to_write = set(passed) - linked_ids
    shards = dict.fromkeys(row.shard for row in stored if row.shard not in without)
    old = (row for shard in shards for row in shard_rows(shard) if _id(row) in to_write and _id(row) in kept)
    new = (partial.row(clip_id) for clip_id in passed if clip_id in to_write and clip_id not in kept)
    return merge(old, new, key=_id)


def _id(row: pa.Table) -> str:
    return str(row["clip_id"][0].as_py())


def _clips(path: Path, name: str) -> list[Clip]:
    if not path.is_file():
        raise DataError(
            "the clip table is missing",
            where=name,
            seen=path.name,
            allowed="a table written by the datasets stage",
            remedy=f"Run `mer datasets --dataset {name}` first",
            code=Code.NO_CLIP_TABLE,
        )
    return sorted(clips_of(pq.read_table(path)), key=lambda clip: clip.clip_id)


def _refused(
    clips: Iterable[Clip], refusals: Refusals, config: Alignment, decisions: Decisions
) -> dict[str, ClipOutcome]:
    """The clips that were refused before and would be refused again."""
    recalled = ((clip, refusals.recall(clip)) for clip in clips)
    again = (judged(clip, result, config, decisions) for clip, result in recalled if result is not None)
    return {result.clip_id: result for result in again if result.quarantined is not None}


class AlignBatch:
    """The actor: aligns the clips of a batch in a guarded process, writes the results, returns a receipt per clip."""

    def __init__(self, config: Alignment, root: str, staging: Staging) -> None:
        self._staging = staging
        self._media = None if staging.address is None else LentMedia()
        self._root = Path(root) if self._media is None else self._media.root
        self._guard = Guard(config, self._root)
        self._guard.start()  # its seconds of imports need not wait for the first batch

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """A batch with one column `clips`, lists of `_asked_for` → one row of `RECEIPT_SCHEMA` per clip."""
        self._staging.check()
        with PartialWriter(self._staging) as written:
            for text in chain.from_iterable(batch["clips"].to_pylist()):
                work = json.loads(text)
                clip = Clip.from_row(work["clip"])
                yield _receipts(written.add(clip, work["asked"], self._align(clip, work["media"])))
            yield _receipts(written.flush())

    def _align(self, clip: Clip, media: Mapping[str, str]) -> dict[str, Any]:
        if self._media is None:
            bring_media(clip, self._root)
            return self._guard.align(clip)
        here = self._media.bring(clip, media)
        return named_as(clip, here, self._guard.align(here))


def named_as(clip: Clip, here: Clip, fields: dict[str, Any]) -> dict[str, Any]:
    """A packed result with the path that the clip has, where it was aligned under a different one."""
    refusal = quarantined_of(fields["quarantined"])
    if refusal is None or refusal.path != here.main_path:
        return fields
    return {**fields, "quarantined": as_text(replace(refusal, path=clip.main_path))}


def receipt_of(row: Mapping[str, Any]) -> Receipt:
    """The receipt of a row of `RECEIPT_SCHEMA`."""
    fields = {name: row[name] for name in ("quality", "quarantined")}
    return Receipt(clip_id=row["clip_id"], fields=fields, file=row["file"], place=row["place"])


def _receipts(receipts: Sequence[Receipt]) -> pa.Table:
    rows = [{"clip_id": one.clip_id, **one.fields, "file": one.file, "place": one.place} for one in receipts]
    return pa.Table.from_pylist(rows, schema=RECEIPT_SCHEMA)


def _aligned(
    clips: list[Clip],
    root: Path,
    name: str,
    *,
    alignment: Alignment,
    ray: RayResources,
    staging: Staging,
    refusals: Refusals,
) -> Iterator[Receipt]:
    """The receipts of the clips, in the order of completion."""
    decoded = sum(has_media(clip) for clip in clips)
    with progress(f"align {name}", len(clips)) as advance:
        if decoded <= IN_PROCESS_CLIPS:
            results = _in_process(clips, root, alignment, staging, refusals)
        else:
            results = _in_ray(clips, root, alignment=alignment, resources=ray, staging=staging, refusals=refusals)
        for result in results:
            advance(1)
            yield result


def bring_media(clip: Clip, root: Path) -> None:
    """Fetches media from an object store that are not on this machine: on a new node, or after `.mer` was deleted."""
    for path in clip.media_paths:
        bring(path, root)


def has_media(clip: Clip) -> bool:
    """Whether the clip has picture or sound to decode."""
    return any(path is not None for path in (clip.video_path, clip.audio_path, clip.pictures_path))


def _in_process(
    clips: list[Clip], root: Path, alignment: Alignment, staging: Staging, refusals: Refusals
) -> Iterator[Receipt]:
    """Without Ray: clips with media in a guarded process, the rest in this one."""
    from components.alignment.align import Aligner  # seconds of imports, which only this path needs

    aligner = Aligner(alignment, media=False)
    with PartialWriter(staging.here) as written, Guard(alignment, root) as guard:
        for clip in clips:
            bring_media(clip, root)
            result = guard.align(clip) if has_media(clip) else packed(align_one(aligner, clip, root))
            yield from written.add(clip, refusals.asking(clip.clip_id), result)
        yield from written.flush()


def _in_ray(
    clips: list[Clip],
    root: Path,
    *,
    alignment: Alignment,
    resources: RayResources,
    staging: Staging,
    refusals: Refusals,
) -> Iterator[Receipt]:
    """Each clip once, in the order of completion. A lost actor is started again, and its unfinished clips are aligned
    anew. Rows are on disk when a receipt arrives, so memory does not depend on the number of clips."""
    connect(resources)
    import ray
    from ray.data import ActorPoolStrategy

    actors = max(1, min(int(ray.cluster_resources().get("CPU", 1)), len(clips)))
    media = lend_media(clips, root, staging)
    with streaming():
        texts = [_asked_for(clip, refusals, media) for clip in clips]
        # One row per block, and one block per call of an actor.
        taken = [{"clips": chunk} for chunk in chunks(texts, actors, most=BATCH_CLIPS)]
        clips_in = ray.data.from_items(taken, override_num_blocks=len(taken))
        aligned = clips_in.map_batches(
            AlignBatch,
            fn_constructor_args=(alignment, str(root), staging),
            batch_format="pyarrow",
            batch_size=None,
            zero_copy_batch=True,
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT),
            num_cpus=1,
        )
    waiting = {clip.clip_id for clip in clips}
    for batch in blocks_of(aligned):
        for row in batch.to_pylist():
            if row["clip_id"] in waiting:  # else it arrived before its actor was lost, and again after
                waiting.remove(row["clip_id"])
                yield receipt_of(row)
    if waiting:
        raise DataError(f"{len(waiting)} clips did not come back from Ray", where=STAGE, seen=min(waiting))


def _asked_for(clip: Clip, refusals: Refusals, media: Mapping[str, Mapping[str, str]]) -> str:
    """A clip for an actor, as JSON."""
    asked = refusals.asking(clip.clip_id)
    return json.dumps({"clip": clip.to_row(), "asked": asked, "media": media.get(clip.clip_id, {})})


def _write(
    name: str, folder: Path, results: Sequence[ClipOutcome], fingerprint: str, refusals: Refusals
) -> dict[str, Any]:
    """Writes everything but the shards; returns the summary."""
    qualities = [_quality_row(result, result.quality) for result in results if result.quality is not None]
    refused = [result for result in results if result.quarantined is not None]
    quarantined = [result.quarantined for result in results if result.quarantined is not None]
    write_table(folder / REFUSED, refusals.table(refused))
    write_table(folder / "quality.parquet", pa.Table.from_pylist(qualities, schema=QUALITY_SCHEMA))
    write_table(folder / "quarantine.parquet", quarantine_table(quarantined))
    aligned = sum(result.quarantined is None for result in results)
    summary = _summary(name, aligned, qualities, quarantined, fingerprint)
    write_json(folder / "summary.json", summary)
    return summary


def _quality_row(result: ClipOutcome, measured: Quality) -> dict[str, Any]:
    return {
        "clip_id": result.clip_id,
        "content_sha256": result.content_sha256,
        "passed": result.quarantined is None,
        **measured.to_row(),
    }


def _summary(
    name: str, aligned: int, qualities: list[dict[str, Any]], quarantined: list[Quarantined], fingerprint: str
) -> dict[str, Any]:
    passed = [row for row in qualities if row["passed"]]
    duration_s = sum(row["duration_s"] for row in passed)
    covered: dict[str, float] = {}
    for row in passed:
        for modality, share in row["coverage"]:
            covered[modality] = covered.get(modality, 0.0) + share * row["duration_s"]
    return {
        "dataset": name,
        "clips": aligned + len(quarantined),
        "aligned": aligned,
        "quarantined": len(quarantined),
        "quarantined_by_code": _counts(row.code for row in quarantined),
        "duration_s": round(duration_s, 3),
        "coverage": {modality: round(total / duration_s, 4) for modality, total in sorted(covered.items())},
        "notes": _counts(kind for row in passed for kind in {_kind(note) for note in row["notes"]}),
        "alignment_fingerprint": fingerprint,
    }


def _kind(note: str) -> str:
    """A note without its numbers, so that notes of one kind are counted together."""
    return re.sub(r"\d+(\.\d+)?", "N", note)


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
