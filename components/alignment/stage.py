"""The alignment stage: a Ray Data map over the clip table, a pool of aligners, one row out for each clip.

Incremental: a row whose clip, content and alignment fingerprint are unchanged is taken over from the earlier shards;
only the others pass through Ray. A clip that cannot be aligned becomes a quarantine row and the run goes on, also where
it crashes the decoder: every clip with media is aligned in a guarded process (`guard.py`). It is not tried again before
something about it changes (`refused.py`).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from heapq import merge
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.alignment.align import Aligner, alignment_fingerprint
from components.alignment.guard import Guard
from components.alignment.outcome import RESULT_SCHEMA, STAGE, Result, align_one, judged, unpacked
from components.alignment.refused import FILE as REFUSED
from components.alignment.refused import Refusals
from components.alignment.shards import ShardWriter, keys_of, rows_of
from components.contracts.atomic import atomic_dir, write_json, write_table
from components.contracts.cluster import connect
from components.contracts.config import Alignment, Params
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.progress import progress
from components.contracts.readmitted import Decisions, read_decisions
from components.contracts.records import QUALITY_TYPE, Clip, Quality, Quarantined, clips_of, quarantine_table

BATCH_CLIPS = 2  # small, so that two actors share the end of the work and progress moves
# Starting Ray and its actors costs more than aligning this many clips here; the code that runs is the same.
IN_PROCESS_CLIPS = 8
QUALITY_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("passed", pa.bool_(), nullable=False),
        *QUALITY_TYPE,
    ]
)


def run(name: str, params: Params, layout: Layout) -> dict[str, Any]:
    """Aligns the clips of a dataset and writes `data/aligned/<name>/`.

    Returns:
        The summary that stands in `summary.json`, and `aligned_now`: how many clips passed through the aligner.

    Raises:
        DataError: the clip table is missing.
        UnavailableError: weights that the configuration needs are not installed.
    """
    config = params.alignment
    clips = {clip.clip_id: clip for clip in _clips(layout.dataset(name) / "clips.parquet", name)}
    folder = layout.aligned(name)
    wanted = alignment_fingerprint(config)
    decisions = read_decisions(layout.decisions(name, STAGE))
    have = keys_of(folder)
    kept = {clip.clip_id for clip in clips.values() if have.get(clip.clip_id) == (clip.content_sha256, wanted)}
    refusals = Refusals(folder, config, decisions)
    refused = _refused((clip for clip in clips.values() if clip.clip_id not in kept), refusals, config, decisions)
    missing = [clip for clip in clips.values() if clip.clip_id not in kept and clip.clip_id not in refused]
    fresh = _aligned(missing, params, layout.root, name)
    results = merge(_kept(folder, kept), refused.values(), fresh, key=lambda result: result.clip_id)
    gated = (judged(clips[result.clip_id], result, config, decisions) for result in results)
    with atomic_dir(folder) as beside:
        summary = _write(name, beside, gated, wanted, refusals)
    return {**summary, "aligned_now": len(missing)}


def _clips(path: Path, name: str) -> list[Clip]:
    if not path.is_file():
        raise DataError(
            "the clip table is missing",
            where=name,
            seen=path.name,
            allowed="a table written by the datasets stage",
            remedy=f"Run `mer datasets --dataset {name}` first",
            code="no-clip-table",
        )
    return sorted(clips_of(pq.read_table(path)), key=lambda clip: clip.clip_id)


def _refused(clips: Iterable[Clip], refusals: Refusals, config: Alignment, decisions: Decisions) -> dict[str, Result]:
    """The clips that were refused before and would be refused again."""
    known = ((clip, refusals.recall(clip)) for clip in clips)
    again = (judged(clip, result, config, decisions) for clip, result in known if result is not None)
    return {result.clip_id: result for result in again if result.quarantined is not None}


def _kept(folder: Path, kept: Collection[str]) -> Iterator[Result]:
    """Rows of earlier shards that still hold; the gate may have changed since, so they pass it again."""
    if not kept:
        return
    for row in rows_of(folder):
        clip_id = row["clip_id"][0].as_py()
        if clip_id in kept:
            content = row["content_sha256"][0].as_py()
            yield Result(clip_id=clip_id, content_sha256=content, row=row, quality=_quality_of(row))


def _quality_of(row: pa.Table) -> Quality:
    fields = row["quality"][0].as_py()
    return Quality(**{**fields, "coverage": dict(fields["coverage"]), "notes": tuple(fields["notes"])})


class AlignBatch:
    """The actor: aligns the clips of a batch in a guarded process, and hands back one packed result a clip."""

    def __init__(self, config: Alignment, root: str) -> None:
        self._guard = Guard(config, Path(root))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """A batch with one column `clip` of JSON → a batch of `RESULT_SCHEMA`."""
        rows = [self._guard.align(Clip.from_row(json.loads(text))) for text in batch["clip"].to_pylist()]
        return pa.Table.from_pylist(rows, schema=RESULT_SCHEMA)


def _aligned(clips: list[Clip], params: Params, root: Path, name: str) -> Iterator[Result]:
    """The results of the clips, in their order."""
    if not clips:
        return
    decoded = sum(has_media(clip) for clip in clips)
    with progress(f"align {name}", len(clips)) as advance:
        source = _in_process if decoded <= IN_PROCESS_CLIPS else _in_ray
        for result in source(clips, params, root):
            advance(1)
            yield result


def has_media(clip: Clip) -> bool:
    """Whether there is picture or sound to decode."""
    return any(path is not None for path in (clip.video_path, clip.audio_path, clip.pictures_path))


def _in_process(clips: list[Clip], params: Params, root: Path) -> Iterator[Result]:
    """Without Ray: what is to be decoded in a guarded process, the rest in this one."""
    aligner = Aligner(params.alignment, media=False)
    with Guard(params.alignment, root) as guard:
        for clip in clips:
            yield guard.result(clip) if has_media(clip) else align_one(aligner, clip, root)


def _in_ray(clips: list[Clip], params: Params, root: Path) -> Iterator[Result]:
    connect(params.ray)
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    logging.getLogger("ray.data").setLevel(logging.WARNING)  # progress is ours
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    actors = max(1, min(int(ray.cluster_resources().get("CPU", 1)), len(clips)))
    with DataContext.current(context):
        # Many small blocks: a block is what one actor takes at a time.
        texts = [json.dumps(clip.to_row()) for clip in clips]
        tables = [pa.table({"clip": texts[i : i + BATCH_CLIPS]}) for i in range(0, len(texts), BATCH_CLIPS)]
        packed = ray.data.from_arrow(tables).map_batches(
            AlignBatch,
            fn_constructor_args=(params.alignment, str(root)),
            batch_format="pyarrow",
            batch_size=None,
            zero_copy_batch=True,
            compute=ActorPoolStrategy(size=actors),
            num_cpus=1,
        )
    rows = (row for batch in packed.iter_batches(batch_size=None, batch_format="pyarrow") for row in batch.to_pylist())
    for clip, row in zip(clips, rows, strict=True):
        yield unpacked(clip, row)


def _write(name: str, folder: Path, results: Iterator[Result], wanted: str, refusals: Refusals) -> dict[str, Any]:
    """Writes everything into a fresh folder while the results come in."""
    qualities: list[dict[str, Any]] = []
    refused: list[Result] = []
    quarantined: list[Quarantined] = []
    aligned = 0
    with ShardWriter(folder) as shards:
        for result in results:
            if result.row is not None:
                shards.write(result.row)
                aligned += 1
            if result.quality is not None:
                qualities.append(_quality_row(result, result.quality))
            if result.quarantined is not None:
                quarantined.append(result.quarantined)
                refused.append(result)
    write_table(folder / REFUSED, refusals.table(refused))
    write_table(folder / "quality.parquet", pa.Table.from_pylist(qualities, schema=QUALITY_SCHEMA))
    write_table(folder / "quarantine.parquet", quarantine_table(quarantined))
    summary = _summary(name, aligned, qualities, quarantined, wanted)
    write_json(folder / "summary.json", summary)
    return summary


def _quality_row(result: Result, measured: Quality) -> dict[str, Any]:
    fields = asdict(measured)
    fields["coverage"] = sorted(measured.coverage.items())
    return {
        "clip_id": result.clip_id,
        "content_sha256": result.content_sha256,
        "passed": result.row is not None,
        **fields,
    }


def _summary(
    name: str, aligned: int, qualities: list[dict[str, Any]], quarantined: list[Quarantined], wanted: str
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
        "alignment_fingerprint": wanted,
    }


def _kind(note: str) -> str:
    """A note without its numbers, so that like notes count together."""
    return re.sub(r"\d+(\.\d+)?", "N", note)


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
