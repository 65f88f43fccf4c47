"""The actors of the features stage in Ray Data: which encoders each pool runs, on which device, and how clips stream.

Actors on the CPU read rows from the aligned shards, decompress and unpack them, and run the encoders that need no GPU.
Clips for a checkpoint on a GPU stream on, one at a time, to one actor per GPU; so no GPU waits for a disk, and none is
held by work on a CPU. Ray Data slows down the faster side by the size of the clips that wait in its object store. A
lost actor is started again, and its task is done anew. What an actor encodes it writes itself, before it says so
(`pieces.py`); the shards of the store are written by tasks, each one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.datasets.staged import Staging
from components.features.base import Encoder
from components.features.encode import EncodingResult, encode_clips
from components.features.passing import only_results, result_rows, results_in, waiting_in, waiting_row
from components.features.pieces import PieceWriter
from components.features.registry import CHECKPOINT, create
from components.features.store import Sources
from components.features.work import EncodingTask, read_clips
from components.runtime.stream import blocks_of, streaming
from components.runtime.threads import limit_threads, one_thread

TASKS_IN_FLIGHT = 2  # an actor works on one and already holds the next


@dataclass(frozen=True, kw_only=True)
class ActorPool:
    """Actors that hold the same encoders: modality → spec, on a device; and the resources that each reserves."""

    specs: Mapping[str, str]
    device: str
    actors: int
    num_cpus: float
    num_gpus: float


def pools(specs: Mapping[str, str], actors: int, device: str) -> tuple[ActorPool, ...]:
    """The pools that run the encoders: actors on the CPU, and for checkpoints on a GPU one actor per GPU of Ray."""
    on_gpu = {name: spec for name, spec in specs.items() if device == "cuda" and spec.startswith(CHECKPOINT)}
    on_cpu = {name: spec for name, spec in specs.items() if name not in on_gpu}
    first = ActorPool(specs=on_cpu, device="cpu", actors=actors, num_cpus=1.0, num_gpus=0.0)
    if not on_gpu:
        return (first,)
    return (first, ActorPool(specs=on_gpu, device=device, actors=max(1, _gpus()), num_cpus=0.0, num_gpus=1.0))


def _gpus() -> int:
    import ray

    return int(ray.cluster_resources().get("GPU", 0))


class ShardEncoder:
    """Reads the clips of tasks and runs its encoders; passes on the clips of the `later` modalities.

    One thread per actor: floating-point sums depend on how they are split over threads, and features must not depend on
    the machine's size. More actors use more cores.
    """

    def __init__(self, pool: ActorPool, batch_clips: int, later: frozenset[str], staging: Staging) -> None:
        self._encoders = _created(pool)
        self._batch_clips, self._later, self._staging = batch_clips, later, staging

    def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
        """Tasks as JSON → the receipts of what is stored, and the clips that wait, one at a time."""
        self._staging.check()
        for text in batch["task"]:
            fields = json.loads(str(text))
            task = EncodingTask(**{**fields, "items": tuple(tuple(item) for item in fields["items"])})
            with PieceWriter(self._staging) as pieces:
                for clips in read_clips(task, batch_clips=self._batch_clips):
                    yield result_rows(pieces.add(encode_clips(clips, self._encoders)))
                    for clip, keys in clips:
                        waiting = {modality: key for modality, key in keys.items() if modality in self._later}
                        if waiting:
                            yield waiting_row(clip, waiting)
                yield result_rows(pieces.flush())


class ClipEncoder:
    """Runs its encoders on the clips that wait for them; passes on the receipts so far."""

    def __init__(self, pool: ActorPool, staging: Staging) -> None:
        self._encoders, self._staging = _created(pool), staging

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Rows of `ShardEncoder` → receipts."""
        clips = waiting_in(batch)
        if clips:
            with PieceWriter(self._staging) as pieces:
                failed = pieces.add(encode_clips(clips, self._encoders))
                yield result_rows([*failed, *pieces.flush()])
        done = only_results(batch)
        if done.num_rows:
            yield done


def _created(pool: ActorPool) -> dict[str, Any]:
    limit_threads()
    return {modality: create(spec, modality, pool.device) for modality, spec in pool.specs.items()}


def encoded_here(
    tasks: Sequence[EncodingTask], encoders: Mapping[str, Encoder], batch_clips: int, staging: Staging
) -> Iterator[EncodingResult]:
    """The receipts of a few tasks, encoded in this process as an actor on the CPU would, on one thread too."""
    with PieceWriter(staging.here) as pieces:
        for task in tasks:
            for clips in read_clips(task, batch_clips=batch_clips):
                with one_thread():
                    results = encode_clips(clips, encoders)
                yield from pieces.add(results)
        yield from pieces.flush()


def encoded_in(
    tasks: Sequence[EncodingTask], pools: Sequence[ActorPool], batch_clips: int, staging: Staging
) -> Iterator[EncodingResult]:
    """The receipts of tasks, in the order of completion. Raises Ray's errors."""
    for table in blocks_of(stream(tasks, pools, batch_clips, staging)):
        yield from results_in(table)


def written_in(write: Callable[[Path, Sources], str], calls: Sequence[tuple[Path, Sources]]) -> Iterator[str]:
    """The names of shards that tasks write on the nodes, each on one core, in the order of completion. Raises Ray's
    errors."""
    import ray

    task = ray.remote(num_cpus=1)(write)
    ahead = TASKS_IN_FLIGHT * max(1, int(ray.cluster_resources().get("CPU", 1)))
    pending: list[Any] = []
    for call in calls:
        if len(pending) >= ahead:
            done, pending = ray.wait(pending, num_returns=1)
            yield from ray.get(done)
        pending.append(task.remote(*call))
    while pending:
        done, pending = ray.wait(pending, num_returns=1)
        yield from ray.get(done)


def stream(tasks: Sequence[EncodingTask], pools: Sequence[ActorPool], batch_clips: int, staging: Staging) -> Any:
    """The Ray Data pipeline; nothing has run yet."""
    import ray.data

    first, *others = pools
    later = frozenset(modality for pool in others for modality in pool.specs)
    with streaming():
        items = [{"task": json.dumps(asdict(task))} for task in tasks]
        dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            ShardEncoder,
            fn_constructor_args=(first, batch_clips, later, staging),
            batch_size=1,
            **_reserved(first, len(tasks)),
        )
        for pool in others:
            dataset = dataset.map_batches(
                ClipEncoder,
                fn_constructor_args=(pool, staging),
                batch_format="pyarrow",
                batch_size=batch_clips,
                **_reserved(pool, len(tasks)),
            )
        return dataset


def _reserved(pool: ActorPool, tasks: int) -> dict[str, Any]:
    from ray.data import ActorPoolStrategy

    size = max(1, min(pool.actors, tasks))
    compute = ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT)
    return {"compute": compute, "num_cpus": pool.num_cpus, "num_gpus": pool.num_gpus or None}
