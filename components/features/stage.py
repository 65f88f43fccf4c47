"""The features stage: encodes every aligned clip of a dataset once with its frozen encoders.

Input: `data/aligned/<name>/shard-*.parquet`. Output: `data/features/<name>/`: one folder of shards per modality
(`store.py`), `index.parquet` (one row per clip), `quarantine.parquet`, `summary.json`.

Features in the store are not encoded again, so a new clip costs one clip and a new encoder costs one modality; features
that no clip of the dataset needs any more are dropped; failures are not tried again (`failures.py`). Ray Data runs the
work: `features.actors` actors on the CPU read the aligned shards and run the embedded encoders, one thread each; where
`features.device` is a GPU, clips for checkpoints stream on to one actor per GPU (`pools.py`). Ray is not started where
nothing or little is missing, nor for given features, which only pass through. Words in a language that their encoder
does not know are not encoded (`languages.py`).

Actors write what they encode themselves, below `.mer/partial` or, with `runtime.store`, into the object store from
which they then read the aligned shards, too (`pieces.py`, `datasets/staged.py`); this process gets receipts. When all
are there, the shards of the store are made from the pieces, then `index.parquet` says which keys count, and only then
the shards from before go. So whenever a run ends, what the index names is there, and the next run encodes only what
neither a shard nor a whole piece has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, starmap
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.contracts.atomic import write_json, write_table
from components.contracts.config import RayResources, Runtime
from components.contracts.errors import DataError, MerError, error_chain
from components.contracts.layout import Layout
from components.contracts.readmitted import read_decisions
from components.contracts.records import Quarantined, quarantine_table
from components.datasets.staged import Staging
from components.features.base import Encoder
from components.features.encode import EncodingResult, encode_clips
from components.features.encoders.given import Given
from components.features.failures import FILE, Failures
from components.features.languages import known_to, recognised, unread
from components.features.pieces import PieceWriter
from components.features.pools import encoded_here, encoded_in, pools, written_in
from components.features.registry import CHECKPOINT, create, portable
from components.features.store import FeatureStore, Run, Sources
from components.features.work import EncodingTask, Scanned, given_widths, plan, read_clips, scan, words_of
from components.runtime.checkpoint import torch_device
from components.runtime.cluster import connect
from components.runtime.progress import progress

STAGE = "features"
# The least number of tasks per actor, so that actors end together.
TASKS_PER_ACTOR = 8
# Starting Ray and its actors costs more than encoding this many clips in this process; the code is the same.
IN_PROCESS_CLIPS = 8
# More shards than this are written by tasks on the nodes: starting their processes costs as much as writing some.
IN_PROCESS_SHARDS = 8
# When all of at least this many clips fail, the cause is not in the clips.
SYSTEMATIC_CLIPS = 5

INDEX = "index.parquet"
INDEX_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("num_steps", pa.int32(), nullable=False),
        pa.field("rate_hz", pa.float64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("keys", pa.map_(pa.string(), pa.string())),
        pa.field("coverage", pa.map_(pa.string(), pa.float64())),
    ]
)


def run(
    name: str,
    layout: Layout,
    *,
    encoders: Mapping[str, str],
    actors: int,
    batch_clips: int,
    device: str,
    ray: RayResources,
    runtime: Runtime,
) -> dict[str, Any]:
    """Encodes a dataset; see the module.

    Returns:
        The content of `summary.json`, and `encoded`: the number of clips that this run encoded, by modality.

    Raises:
        ConfigError: an unknown encoder, or `runtime.store` is not an address. UnavailableError: weights that are not
            installed. DataError: there are no aligned clips, an encoder failed on every clip, or the object store
            fails.
    """
    on = torch_device(device) if any(spec.startswith(CHECKPOINT) for spec in encoders.values()) else "cpu"
    clips = scan(layout.aligned(name))
    given: dict[str, Encoder] = {modality: Given(modality, width) for modality, width in given_widths(clips).items()}
    learned = _encoders(encoders, clips, on, without=given)
    created = {**learned, **given}
    clips, foreign = _readable(clips, learned)
    store = FeatureStore(layout.features(name))
    staging = Staging.of(layout.partial(STAGE, name), store=runtime.store, stage=STAGE, name=name)
    staging.bring()
    pieces = FeatureStore(staging.folder)
    for modality in {*store.modalities(), *pieces.modalities(), *created}:
        store.drop_damaged(modality)
        pieces.drop_damaged(modality)
    failures = Failures(store.folder, read_decisions(layout.decisions(name, STAGE)))
    held = {modality: store.keys(modality) | pieces.keys(modality) | failures.by_key.keys() for modality in created}
    max_clips = _task_clips(clips, actors, batch_clips)
    ready = plan(clips, _fingerprints(given), held, max_clips=max_clips, given=True)
    tasks = plan(clips, _fingerprints(learned), held, max_clips=max_clips)
    failed: dict[str, EncodingResult] = {}
    encoded: dict[str, int] = {}
    on_ray = on != "cpu" or sum(task.clips for task in tasks) > IN_PROCESS_CLIPS
    if tasks or ready:
        staging.prepare()
        total = sum(len(task.items) for task in (*ready, *tasks))
        with progress(f"features {name}", total) as advance:
            results = _ready(ready, given, batch_clips, staging)
            if tasks and not on_ray:
                results = chain(results, encoded_here(tasks, learned, batch_clips, staging))
            elif tasks:
                connect(ray)
                results = chain(
                    results, _results(tasks, encoders, on, actors=actors, batch_clips=batch_clips, staging=staging)
                )
            failed, encoded = _counted(results, advance)
    _check_systematic(failed, encoded)
    failures.by_key.update(failed)
    staging.bring()
    # Tasks on the nodes see the folder of the project unless an object store stands in for it.
    run = _written if tasks and on_ray and runtime.store is None else starmap
    summary = _commit(name, clips, created, store, failures, pieces=pieces, foreign=foreign, run=run)
    staging.clear()
    return {**summary, "encoded": {modality: encoded.get(modality, 0) for modality in sorted(created)}}


def _encoders(
    specs: Mapping[str, str], clips: Sequence[Scanned], device: str, *, without: Collection[str]
) -> dict[str, Encoder]:
    """The configured encoders, except for the modalities `without`. A checkpoint that no clip needs is not located."""
    present = {modality for clip in clips for modality in clip.present}
    return {
        modality: create(spec, modality, device)
        for modality, spec in specs.items()
        if modality not in without and (modality in present or not spec.startswith(CHECKPOINT))
    }


def _readable(
    clips: Sequence[Scanned], encoders: Mapping[str, Encoder]
) -> tuple[list[Scanned], dict[str, dict[str, int]]]:
    """The clips, without the modalities whose words the encoder does not know; and how many lost one, by modality and
    language."""
    foreign: dict[str, Counter[str]] = {}
    lost: dict[str, set[str]] = {}
    for modality, encoder in encoders.items():
        if not known_to(encoder):
            continue
        for clip, words in words_of(clip for clip in clips if modality in clip.present):
            language = recognised(words)
            if language is not None and unread(encoder, language):
                foreign.setdefault(modality, Counter())[language] += 1
                lost.setdefault(clip.clip_id, set()).add(modality)
    read = [replace(clip, present=clip.present - lost.get(clip.clip_id, set())) for clip in clips]
    return read, {modality: dict(sorted(counts.items())) for modality, counts in sorted(foreign.items())}


def _fingerprints(encoders: Mapping[str, Encoder]) -> dict[str, str]:
    return {modality: encoder.fingerprint for modality, encoder in encoders.items()}


def _ready(
    tasks: Sequence[EncodingTask], encoders: Mapping[str, Encoder], batch_clips: int, staging: Staging
) -> Iterator[EncodingResult]:
    """Given features, which only pass through: starting an actor would cost more than it saves."""
    with PieceWriter(staging.here) as pieces:
        for task in tasks:
            for clips in read_clips(task, batch_clips=batch_clips):
                yield from pieces.add(encode_clips(clips, encoders))
        yield from pieces.flush()


def _counted(
    receipts: Iterable[EncodingResult], advance: Callable[[int], None]
) -> tuple[dict[str, EncodingResult], dict[str, int]]:
    """The failed ones by key, and how many were stored by modality. A receipt that comes again, after its actor was
    lost, counts once."""
    failed: dict[str, EncodingResult] = {}
    stored: dict[str, set[str]] = {}
    for receipt in receipts:
        if receipt.key in failed or receipt.key in stored.get(receipt.modality, ()):
            continue
        advance(1)
        if receipt.code is None:
            stored.setdefault(receipt.modality, set()).add(receipt.key)
        else:
            failed[receipt.key] = receipt
    return failed, {modality: len(keys) for modality, keys in stored.items()}


def _results(
    tasks: Sequence[EncodingTask],
    encoders: Mapping[str, str],
    device: str,
    *,
    actors: int,
    batch_clips: int,
    staging: Staging,
) -> Iterator[EncodingResult]:
    planned = {modality for task in tasks for _, modality, _ in task.items}
    specs = {modality: portable(spec) for modality, spec in encoders.items() if modality in planned}
    lent = staging.lend(sorted({Path(task.shard) for task in tasks}))
    tasks = [replace(task, shard=lent[Path(task.shard)]) for task in tasks]
    with _own_errors():
        yield from encoded_in(tasks, pools(specs, actors, device), batch_clips, staging)


def _written(write: Callable[[Path, Sources], str], calls: Sequence[tuple[Path, Sources]]) -> Iterator[str]:
    """On the nodes where that is worth it."""
    if len(calls) <= IN_PROCESS_SHARDS:
        yield from starmap(write, calls)
        return
    with _own_errors():
        yield from written_in(write, calls)


@contextmanager
def _own_errors() -> Iterator[None]:
    """The project's own error, where one of it lies behind Ray's."""
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        raise next((link for link in error_chain(error) if isinstance(link, MerError)), error) from error


def _task_clips(clips: Sequence[Scanned], actors: int, batch_clips: int) -> int:
    """Clips per task: complete batches, and enough tasks to keep all actors busy to the end."""
    share = len(clips) // (actors * TASKS_PER_ACTOR)
    return max(1, share // batch_clips) * batch_clips


def _check_systematic(failed: Mapping[str, EncodingResult], encoded: Mapping[str, int]) -> None:
    for modality in sorted({result.modality for result in failed.values()}):
        misses = [result for result in failed.values() if result.modality == modality]
        if encoded.get(modality, 0) == 0 and len(misses) >= SYSTEMATIC_CLIPS:
            raise DataError(
                f"the {modality} encoder failed on every clip ({len(misses)})",
                where=STAGE,
                seen=misses[0].message,
                remedy="The cause is in the encoder or the alignment, not in a clip",
            )


def _commit(
    name: str,
    clips: Sequence[Scanned],
    encoders: Mapping[str, Encoder],
    store: FeatureStore,
    failures: Failures,
    *,
    pieces: FeatureStore,
    foreign: Mapping[str, Mapping[str, int]],
    run: Run,
) -> dict[str, Any]:
    """Brings the store into its canonical form and writes quarantine, failures, summary, and the index last; then what
    it had before goes."""
    failed = failures.by_key
    fingerprints = _fingerprints(encoders)
    clip_keys = [clip.keys(fingerprints) for clip in clips]
    coverage: dict[str, dict[str, float]] = {}
    kept: dict[str, set[str]] = {}
    for modality in sorted({*store.modalities(), *encoders}):
        current_keys = {keys[modality] for keys in clip_keys if modality in keys} - failed.keys()
        kept[modality] = store.settle(modality, current_keys, pieces=pieces, run=run)
        coverage[modality] = store.coverage(modality, current_keys)
    rows: list[dict[str, Any]] = []
    failures_of_clips: list[tuple[str, EncodingResult]] = []
    clips_with = dict.fromkeys(sorted(encoders), 0)
    for clip, keys in zip(clips, clip_keys, strict=True):
        shares = {modality: coverage[modality].get(keys.get(modality, ""), 0.0) for modality in sorted(encoders)}
        used = {modality: key for modality, key in keys.items() if shares[modality] > 0}
        for modality in used:
            clips_with[modality] += 1
        rows.append(
            {
                "clip_id": clip.clip_id,
                "content_sha256": clip.content_sha256,
                "num_steps": clip.num_steps,
                "rate_hz": clip.rate_hz,
                "duration_s": clip.duration_s,
                "keys": sorted(used.items()),
                "coverage": sorted(shares.items()),
            }
        )
        failures_of_clips += [(clip.clip_id, failed[key]) for key in keys.values() if key in failed]
    summary = {
        "alignment_fingerprints": sorted({clip.alignment_fingerprint for clip in clips}),
        "clips": len(clips),
        "clips_with": clips_with,
        "steps": sum(clip.num_steps for clip in clips),
        "quarantined": len(failures_of_clips),
        "encoders": {
            modality: {"spec": encoder.name, "fingerprint": fingerprints[modality], "width": encoder.width}
            for modality, encoder in sorted(encoders.items())
        },
        **({"foreign_words": foreign} if foreign else {}),
    }
    quarantined = [_quarantined(name, clip_id, result) for clip_id, result in failures_of_clips]
    write_table(store.folder / "quarantine.parquet", quarantine_table(quarantined))
    write_table(store.folder / FILE, failures.table(failures_of_clips))
    write_json(store.folder / "summary.json", summary)
    write_table(store.folder / INDEX, pa.Table.from_pylist(rows, schema=INDEX_SCHEMA))
    for modality, shards in kept.items():
        store.prune(modality, shards)
    return summary


def _quarantined(name: str, clip_id: str, result: EncodingResult) -> Quarantined:
    assert result.code is not None  # as of every failed result
    return Quarantined(
        dataset=name,
        clip_id=clip_id,
        stage=STAGE,
        code=result.code,
        message=result.message,
        field=result.modality,
        remedy="The clip is used without this modality; mend its media or choose a different encoder",
    )
