"""The features stage: encodes every aligned clip of a dataset once with its frozen encoders.

Input: `data/aligned/<name>/shard-*.parquet`. Output: `data/features/<name>/`: one folder of shards per modality
(`store.py`), `index.parquet` (one row per clip), `quarantine.parquet`, `summary.json`.

Features in the store are not encoded again, so a new clip costs one clip and a new encoder costs one modality; features
that no clip of the dataset needs any more are dropped; failures are not tried again (`failures.py`). Ray Data runs the
work: `features.actors` actors on the CPU read the aligned shards and run the embedded encoders, one thread each; where
`features.device` is a GPU, clips for checkpoints stream on to one actor per GPU (`pools.py`). Ray is not started where
nothing or little is missing, nor for given features, which only pass through. Features encoded before an interruption
are kept. Words in a language that their encoder does not know are not encoded (`languages.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import pyarrow as pa

from components.contracts.atomic import write_json, write_table
from components.contracts.config import RayResources
from components.contracts.errors import DataError, MerError, error_chain
from components.contracts.layout import Layout
from components.contracts.readmitted import read_decisions
from components.contracts.records import Quarantined, quarantine_table
from components.features.base import Encoded, Encoder
from components.features.encode import EncodingResult, encode_clips
from components.features.encoders.given import Given
from components.features.failures import FILE, Failures
from components.features.languages import known_to, recognised, unread
from components.features.pools import encoded_here, encoded_in, pools
from components.features.registry import CHECKPOINT, create, portable
from components.features.store import FeatureStore
from components.features.work import EncodingTask, Scanned, given_widths, plan, read_clips, scan, words_of
from components.runtime.checkpoint import torch_device
from components.runtime.cluster import connect
from components.runtime.progress import progress

STAGE = "features"
# A shard is written when a modality has this many clips or bytes: the most that a killed run loses.
FLUSH_CLIPS = 256
FLUSH_BYTES = 32 << 20
# The least number of tasks per actor, so that actors end together.
TASKS_PER_ACTOR = 8
# Starting Ray and its actors costs more than encoding this many clips in this process; the code is the same.
IN_PROCESS_CLIPS = 8
# When all of at least this many clips fail, the cause is not in the clips.
SYSTEMATIC_CLIPS = 5

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
) -> dict[str, Any]:
    """Encodes a dataset; see the module.

    Returns:
        The content of `summary.json`, and `encoded`: the number of clips that this run encoded, by modality.

    Raises:
        ConfigError: an unknown encoder. UnavailableError: weights that are not installed. DataError: there are no
            aligned clips, or an encoder failed on every clip.
    """
    on = torch_device(device) if any(spec.startswith(CHECKPOINT) for spec in encoders.values()) else "cpu"
    clips = scan(layout.aligned(name))
    given: dict[str, Encoder] = {modality: Given(modality, width) for modality, width in given_widths(clips).items()}
    learned = _encoders(encoders, clips, on, without=given)
    created = {**learned, **given}
    clips, foreign = _readable(clips, learned)
    store = FeatureStore(layout.features(name))
    for modality in {*store.modalities(), *created}:
        store.drop_damaged(modality)
    failures = Failures(store.folder, read_decisions(layout.decisions(name, STAGE)))
    held = {modality: store.keys(modality) | failures.by_key.keys() for modality in created}
    max_clips = _task_clips(clips, actors, batch_clips)
    ready = plan(clips, _fingerprints(given), held, max_clips=max_clips, given=True)
    tasks = plan(clips, _fingerprints(learned), held, max_clips=max_clips)
    failed: dict[str, EncodingResult] = {}
    encoded: dict[str, int] = {}
    if tasks or ready:
        total = sum(len(task.items) for task in (*ready, *tasks))
        with progress(f"features {name}", total) as advance:
            results = _ready(ready, given, batch_clips)
            if tasks and on == "cpu" and sum(task.clips for task in tasks) <= IN_PROCESS_CLIPS:
                results = chain(results, encoded_here(tasks, learned, batch_clips))
            elif tasks:
                connect(ray)
                results = chain(results, _results(tasks, encoders, on, actors=actors, batch_clips=batch_clips))
            failed, encoded = _store_all(results, store, advance)
    _check_systematic(failed, encoded)
    failures.by_key.update(failed)
    summary = _commit(name, clips, created, store, failures, foreign=foreign)
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
    tasks: Sequence[EncodingTask], encoders: Mapping[str, Encoder], batch_clips: int
) -> Iterator[EncodingResult]:
    """Given features, which only pass through: starting an actor would cost more than it saves."""
    for task in tasks:
        for clips in read_clips(task, batch_clips=batch_clips):
            yield from encode_clips(clips, encoders)


def _store_all(
    results: Iterator[EncodingResult], store: FeatureStore, advance: Callable[[int], None]
) -> tuple[dict[str, EncodingResult], dict[str, int]]:
    """Writes results to the store a piece at a time; returns the failed ones by key, and counts by modality."""
    failed: dict[str, EncodingResult] = {}
    encoded: dict[str, int] = {}
    buffers: dict[str, dict[str, Encoded]] = {}
    sizes: dict[str, int] = {}
    try:
        for result in results:
            advance(1)
            if result.encoded is None:
                failed[result.key] = result
                continue
            modality = result.modality
            encoded[modality] = encoded.get(modality, 0) + 1
            buffers.setdefault(modality, {})[result.key] = result.encoded
            sizes[modality] = sizes.get(modality, 0) + result.encoded.values.nbytes
            if sizes[modality] >= FLUSH_BYTES or len(buffers[modality]) >= FLUSH_CLIPS:
                store.write(modality, buffers.pop(modality))
                sizes[modality] = 0
    finally:
        # Also after an error: encoded clips need not be encoded again.
        for modality, items in buffers.items():
            store.write(modality, items)
    return failed, encoded


def _results(
    tasks: Sequence[EncodingTask], encoders: Mapping[str, str], device: str, *, actors: int, batch_clips: int
) -> Iterator[EncodingResult]:
    import ray.exceptions

    planned = {modality for task in tasks for _, modality, _ in task.items}
    specs = {modality: portable(spec) for modality, spec in encoders.items() if modality in planned}
    try:
        yield from encoded_in(tasks, pools(specs, actors, device), batch_clips)
    except ray.exceptions.RayError as error:
        # The project's own error, where an actor raised one.
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
    foreign: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """Brings the store into its canonical form and writes index, quarantine, failures and summary."""
    failed = failures.by_key
    fingerprints = _fingerprints(encoders)
    clip_keys = [clip.keys(fingerprints) for clip in clips]
    coverage: dict[str, dict[str, float]] = {}
    for modality in {*store.modalities(), *encoders}:
        current_keys = {keys[modality] for keys in clip_keys if modality in keys} - failed.keys()
        store.compact(modality, current_keys)
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
    write_table(store.folder / "index.parquet", pa.Table.from_pylist(rows, schema=INDEX_SCHEMA))
    quarantined = [_quarantined(name, clip_id, result) for clip_id, result in failures_of_clips]
    write_table(store.folder / "quarantine.parquet", quarantine_table(quarantined))
    write_table(store.folder / FILE, failures.table(failures_of_clips))
    write_json(store.folder / "summary.json", summary)
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
