"""Two workers as processes that talk by gloo, without Ray: what each learns with whole copies, and with parts.

`python -m tests.training.ranks <folder> <rank>` is one of them.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from components.catalog.cases import Case
from components.contracts.config import Train
from components.features.encoders.whisper_tiny import WhisperFrames
from components.runtime.threads import one_thread
from components.training import buckets
from components.training.adapted import upper_of
from components.training.buckets import StartSum
from components.training.checkpoints.state import lend, load_checkpoint, snapshot, write_checkpoint
from components.training.learner import Learner, Share
from components.training.loop import TrainingTask, new_learner, run_epochs
from tests.model.toys import WIDTHS, Toy, rated, toy_spec

WORLD = 2


@dataclass(frozen=True)
class Training:
    """What is trained, on which clips."""

    task: TrainingTask
    items: Sequence[Case]
    held_out: Sequence[Case] = ()


def framed(items: Sequence[Case]) -> list[Case]:
    """Clips whose voice is what an encoder leaves to the layers that learn."""
    rng = np.random.default_rng(3)

    def voice(case: Case) -> np.ndarray:
        frames = rng.standard_normal((case.steps, WhisperFrames.width)).astype(np.float32)
        return np.where(case.masks["voice"][:, None], frames, 0)

    return [replace(case, features={**case.features, "voice": voice(case)}) for case in items]


# The last batch has one clip, so that the second worker has none.
PLAIN = Training(
    TrainingTask(
        spec=replace(
            toy_spec(width=32, dropout=0.3, modality_dropout=0.6, statistics_noise=0.5, statistics_mixup=0.4),
            valence_arousal=True,
            embedding=5,
        ),
        train=Train(
            epochs=4, batch_clips=4, feature_noise=0.1, contrastive_loss=0.3, contrastive_text="learned", decay_all=True
        ),
        seed=5,
    ),
    rated(Toy(clips=13).items()),
    rated(Toy(clips=5).items("calibration")),
)


def adapted(**settings: object) -> Training:
    """With the last layers of the voice encoder."""
    train = Train.model_validate({"epochs": 2, "batch_clips": 3, "adapt": {"voice": settings}})
    widths = {**WIDTHS, "voice": WhisperFrames.width}
    upper = upper_of(train, {"voice": {"spec": "whisper-tiny-frames"}}, widths)
    spec = replace(toy_spec(width=8), modalities=widths, upper=upper)
    return Training(TrainingTask(spec=spec, train=train, seed=5), framed(Toy(clips=4, steps=(4, 6)).items()))


ADAPTED = {"lora": adapted(layers=1), "weights": adapted(layers=1, method="weights")}


def work(rank: int, folder: Path) -> None:
    """What a worker finds, as `<folder>/<rank>.pt`."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    with one_thread():
        found = {
            "parts": trained(rank, shard=True),
            "copies": trained(rank, shard=False),
            "copies, two parts a batch": trained(rank, shard=False, parts=2),
            "parts, two parts a batch": trained(rank, shard=True, parts=2),
            "copies, in buckets": in_buckets(rank),
            "copies, in buckets, two parts a batch": in_buckets(rank, parts=2),
            "parts, from copies": resumed(rank, folder / "copies", first=False),
            "copies, from parts": resumed(rank, folder / "parts", first=True),
            **{
                f"{name}, {method}": trained(rank, shard=shard, of=training)
                for method, training in ADAPTED.items()
                for name, shard in (("parts", True), ("copies", False))
            },
        }
        dist.destroy_process_group()
        if rank == 0:  # the other one is lost
            dist.init_process_group("gloo", init_method=f"file://{folder}/alone", rank=0, world_size=1)
            found["copies, alone"] = trained(0, shard=False)
            found["parts, alone"] = trained(0, shard=True)
            dist.destroy_process_group()
    torch.save(found, folder / f"{rank}.pt")


def trained(rank: int, *, shard: bool, parts: int = 1, of: Training = PLAIN) -> dict[str, Any]:
    """A whole training, what it learned, and what of it is on this worker then."""
    before = live_bytes()
    learner = learner_of(shard=shard, of=of)
    epochs(learner, rank, parts=parts, of=of)
    return {"live_bytes": live_bytes() - before, **seen(learner)}


def in_buckets(rank: int, *, parts: int = 1) -> dict[str, Any]:
    """A training whose gradient is added up in buckets, and what it was when the sum of the first one began: whether
    the last one's was still to come."""
    early: list[bool] = []

    def start(tensor: Tensor) -> Callable[[], object]:
        if tensor.data_ptr() + tensor.nbytes == learner.rest.data_ptr():
            early.append(not learner.gradient[:1000].any())
        work = dist.all_reduce(tensor, async_op=True)
        assert work is not None
        return work.wait

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "FIRST_BYTES", 1 << 10)
        patch.setattr(buckets, "BYTES", 1 << 12)
        learner = learner_of(shard=False)
    epochs(learner, rank, parts=parts, start_sum=start)
    return {"early": early, "buckets": len(learner.buckets), **seen(learner)}


def resumed(rank: int, folder: Path, *, first: bool) -> dict[str, Any]:
    """One that is saved after an epoch and a step, with parts where `first`, and goes on the other way."""
    learner = learner_of(shard=first)
    epochs(learner, rank, stop_at=17)
    if rank == 0:
        write_checkpoint(folder, snapshot(learner, inputs_sha256="x"))
    elif first:
        lend(learner)
    dist.barrier()
    other = learner_of(shard=not first)
    load_checkpoint(folder, other, inputs_sha256="x")
    epochs(other, rank)
    return seen(other)


def learner_of(*, shard: bool, of: Training = PLAIN) -> Learner:
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),)) if shard else None
    return new_learner(of.task, of.items, mesh=mesh)


class _StopError(Exception):
    """The training is left."""


def epochs(
    learner: Learner,
    rank: int,
    *,
    parts: int = 1,
    stop_at: int | None = None,
    of: Training = PLAIN,
    start_sum: StartSum | None = None,
) -> None:
    """Trains to the end, or to so many samples."""

    def at_boundary(learner: Learner) -> None:
        if learner.samples == stop_at:
            raise _StopError

    share = Share(rank=rank, world=dist.get_world_size(), sum_over_workers=dist.all_reduce, start_sum=start_sum)
    try:
        list(run_epochs(learner, of.task, of.items, of.held_out, share=share, parts=parts, at_boundary=at_boundary))
    except _StopError:
        return


def seen(learner: Learner) -> dict[str, Any]:
    model = dict(learner.model.named_parameters())
    learned = [value for name, value in model.items() if name in learner.parameters]
    moments = [moment for value in learned for moment in of(learner, value, "exp_avg", "exp_avg_sq")]
    return {
        "history": learner.history,
        "average": learner.averaged(),
        "weights": {
            name: learner.placement.whole(value.detach()).clone() for name, value in learner.parameters.items()
        },
        "bytes": {
            "weights": size(learner, list(model.values())),
            "gradients": size(learner, [value.grad for value in model.values() if value.grad is not None]),
            "moments": size(learner, moments),
            "average": size(learner, list(learner.average.values())),
        },
        "model_bytes": sum(4 * value.numel() for value in model.values()),
    }


def of(learner: Learner, parameter: Tensor, *names: str) -> list[Tensor]:
    return [learner.optimiser.state[parameter][name] for name in names]


@torch.no_grad()
def size(learner: Learner, tensors: Sequence[Tensor]) -> int:
    """Bytes of the memory that is behind tensors on this worker, each counted once."""
    storages = {}
    for tensor in tensors:
        storage = learner.placement.local(tensor).untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def live_bytes() -> int:
    """Of the memory behind all tensors of this process."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) in (Tensor, torch.nn.Parameter)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


if __name__ == "__main__":
    work(int(sys.argv[2]), Path(sys.argv[1]))
