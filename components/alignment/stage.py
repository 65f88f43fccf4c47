"""The alignment stage: a Ray Data map over the clip table, a pool of aligners, one row out for each clip.

Incremental: a row whose clip, content and alignment fingerprint are unchanged is taken over from the earlier shards;
only the others pass through Ray. A clip that cannot be aligned becomes a quarantine row and the run goes on.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from heapq import merge
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.alignment import quality
from components.alignment.align import Aligner, alignment_fingerprint
from components.alignment.shards import ShardWriter, keys_of, rows_of
from components.contracts.atomic import atomic_dir, write_json, write_table
from components.contracts.cluster import connect
from components.contracts.config import Alignment, Params
from components.contracts.errors import DataError, MediaError
from components.contracts.layout import Layout
from components.contracts.progress import progress
from components.contracts.records import (
    ALIGNED_SCHEMA,
    QUALITY_TYPE,
    Clip,
    Quality,
    Quarantined,
    clips_of,
    quarantine_table,
)

STAGE = "alignment"
INTERNAL = "internal"
TRACE_FRAMES = 4
BATCH_CLIPS = 2  # small, so that two actors share the end of the work and progress moves
# Starting Ray and its actors costs more than aligning this many clips here; the code that runs is the same.
IN_PROCESS_CLIPS = 8
RESULT_SCHEMA = pa.schema([("row", pa.large_binary()), ("quality", pa.string()), ("quarantined", pa.string())])
QUALITY_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("passed", pa.bool_(), nullable=False),
        *QUALITY_TYPE,
    ]
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one clip: its aligned row (a table of one row) if it passed, its quality if it could be
    measured, its quarantine row if it did not pass."""

    clip_id: str
    content_sha256: str
    row: pa.Table | None = None
    quality: Quality | None = None
    quarantined: Quarantined | None = None


def run(name: str, params: Params, layout: Layout) -> dict[str, Any]:
    """Aligns the clips of a dataset and writes `data/aligned/<name>/`.

    Returns:
        The summary that stands in `summary.json`.

    Raises:
        DataError: the clip table is missing.
        UnavailableError: weights that the configuration needs are not installed.
    """
    config = params.alignment
    clips = _clips(layout.dataset(name) / "clips.parquet", name)
    folder = layout.aligned(name)
    wanted = alignment_fingerprint(config)
    have = keys_of(folder)
    missing = [clip for clip in clips if have.get(clip.clip_id) != (clip.content_sha256, wanted)]
    stale = {clip.clip_id for clip in missing}
    kept = {clip.clip_id: clip for clip in clips if clip.clip_id not in stale}
    fresh = _aligned(missing, params, layout.root, name)
    results = merge(_kept(folder, kept, config), fresh, key=lambda result: result.clip_id)
    with atomic_dir(folder) as beside:
        return _write(name, beside, results, wanted)


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


def _kept(folder: Path, kept: dict[str, Clip], config: Alignment) -> Iterator[Result]:
    """Rows of earlier shards that still hold; the gate may have changed since, so they pass it again."""
    if not kept:
        return
    for row in rows_of(folder):
        clip = kept.get(row["clip_id"][0].as_py())
        if clip is not None:
            yield _judged(clip, row, _quality_of(row), config)


def _judged(clip: Clip, row: pa.Table, measured: Quality, config: Alignment) -> Result:
    refused = None
    try:
        quality.gate(measured, config.quality, where=clip.clip_id)
    except MediaError as error:
        refused = _quarantined(clip, error)
    return Result(
        clip_id=clip.clip_id,
        content_sha256=clip.content_sha256,
        row=None if refused else row,
        quality=measured,
        quarantined=refused,
    )


def _quality_of(row: pa.Table) -> Quality:
    fields = row["quality"][0].as_py()
    return Quality(**{**fields, "coverage": dict(fields["coverage"]), "notes": tuple(fields["notes"])})


def align_one(aligner: Aligner, clip: Clip, root: Path) -> Result:
    """Aligns one clip; whatever goes wrong with it becomes a quarantine row."""
    try:
        aligned = aligner.align_ungated(clip, root=root)
        row = pa.Table.from_pylist([aligned.to_row()], schema=ALIGNED_SCHEMA)
        return _judged(clip, row, aligned.quality, aligner.config)
    except MediaError as error:
        refused = _quarantined(clip, error)
    except Exception as error:  # one clip must never end a run over thousands; what happened stands in its row
        refused = _quarantined(clip, _internal(clip, error, root))
    return Result(clip_id=clip.clip_id, content_sha256=clip.content_sha256, quarantined=refused)


def _quarantined(clip: Clip, error: MediaError) -> Quarantined:
    path = clip.video_path or clip.audio_path or clip.physio_path or next((one.path for one in clip.given), None)
    return Quarantined.from_error(error, dataset=clip.dataset, clip_id=clip.clip_id, stage=STAGE, path=path)


def _internal(clip: Clip, error: Exception, root: Path) -> MediaError:
    # File names and lines only: the output must not depend on where the checkout lies.
    frames = traceback.extract_tb(error.__traceback__)[-TRACE_FRAMES:]
    trace = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return MediaError(
        "an unexpected error while aligning",
        where=clip.clip_id,
        seen=f"{type(error).__name__}: {error}".replace(str(root.resolve()), ".") + f" [{trace}]",
        remedy="This is a defect of the code: report it with the clip",
        code=INTERNAL,
    )


class AlignBatch:
    """The actor: aligns the clips of a batch, and hands back one packed result a clip."""

    def __init__(self, config: Alignment, root: str) -> None:
        self._aligner = Aligner(config)
        self._root = Path(root)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """A batch with one column `clip` of JSON → a batch of `RESULT_SCHEMA`."""
        rows = []
        for text in batch["clip"].to_pylist():
            rows.append(_packed(align_one(self._aligner, Clip.from_row(json.loads(text)), self._root)))
        return pa.Table.from_pylist(rows, schema=RESULT_SCHEMA)


def _packed(result: Result) -> dict[str, Any]:
    """A result for the object store: the row as one Arrow IPC buffer, so that it is copied and never re-encoded."""
    row = None
    if result.row is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, result.row.schema) as stream:
            stream.write_table(result.row)
        row = sink.getvalue().to_pybytes()
    return {
        "row": row,
        "quality": json.dumps(asdict(result.quality)) if result.quality else None,
        "quarantined": json.dumps(asdict(result.quarantined)) if result.quarantined else None,
    }


def _unpacked(clip: Clip, packed: dict[str, Any]) -> Result:
    measured = json.loads(packed["quality"]) if packed["quality"] else None
    return Result(
        clip_id=clip.clip_id,
        content_sha256=clip.content_sha256,
        row=pa.ipc.open_stream(packed["row"]).read_all() if packed["row"] is not None else None,
        quality=Quality(**{**measured, "notes": tuple(measured["notes"])}) if measured else None,
        quarantined=Quarantined(**json.loads(packed["quarantined"])) if packed["quarantined"] else None,
    )


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
    return clip.video_path is not None or clip.audio_path is not None


def _in_process(clips: list[Clip], params: Params, root: Path) -> Iterator[Result]:
    aligner = Aligner(params.alignment, media=any(has_media(clip) for clip in clips))
    for clip in clips:
        yield align_one(aligner, clip, root)


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
        yield _unpacked(clip, row)


def _write(name: str, folder: Path, results: Iterator[Result], wanted: str) -> dict[str, Any]:
    """Writes everything into a fresh folder while the results come in."""
    qualities: list[dict[str, Any]] = []
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
