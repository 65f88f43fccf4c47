"""The whole state of a training as files, written atomically: `state.safetensors` and `state.json`, which has its hash.

Resume is exact at every batch boundary with the same number of workers: weights, average, moments and samples consumed
are the whole state; order, learning rate and random seeds follow from (seed, step). Any other number of workers goes on
from it too: the order and the gradient stay the same up to rounding, and the draws of dropout differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.contracts.atomic import atomic_dir, read_json, write_json
from components.contracts.errors import ModelError
from components.contracts.fingerprint import file_sha256
from components.training.learner import Learner

TENSORS = "state.safetensors"
STATE = "state.json"
FORMAT = 2
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A copy of the state, on the CPU, which training does not change any more."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def samples(self) -> int:
        """Samples consumed globally."""
        return int(self.state["samples"])


def snapshot(learner: Learner, *, inputs_sha256: str) -> Snapshot:
    """Copies the state, whole wherever its tensors are: where workers have parts of them all must call this.

    `inputs_sha256` identifies the training that can resume it.
    """
    updates = 0
    tensors: dict[str, Tensor] = {}
    for name, tensor in _tensors(learner):
        tensors[name] = learner.placement.whole(tensor.detach()).to("cpu", copy=True).contiguous()
    for moments in learner.optimiser.state.values():
        updates = int(moments["step"])
    return Snapshot(
        tensors=tensors,
        state={
            "format": FORMAT,
            "inputs_sha256": inputs_sha256,
            "samples": learner.samples,
            "updates": updates,
            "epoch_sums": dict(learner.epoch_sums),
            "history": list(learner.history),
            "spec": learner.spec.to_json(),
            "precision": learner.precision,
        },
    )


def lend(learner: Learner) -> None:
    """Gives the other workers what they need for their `snapshot`, of a learner that has parts of the state."""
    for _, tensor in _tensors(learner):
        learner.placement.whole(tensor.detach())


def _tensors(learner: Learner) -> Iterator[tuple[str, Tensor]]:
    """Name → tensor, in an order that is the same on all workers."""
    for name, parameter in learner.parameters.items():
        yield f"weight.{name}", parameter
        yield f"average.{name}", learner.ema[name]
        moments = learner.optimiser.state.get(parameter, {})
        for moment in MOMENTS:
            if moment in moments:
                yield f"{moment}.{name}", moments[moment]


def write_checkpoint(folder: Path, taken: Snapshot) -> None:
    """Writes a copy of the state into a folder of its own."""
    with atomic_dir(folder) as beside:
        save_file(taken.tensors, beside / TENSORS)
        write_json(beside / STATE, {**taken.state, "tensors_sha256": file_sha256(beside / TENSORS)})


def load_checkpoint(folder: Path, learner: Learner, *, inputs_sha256: str) -> Snapshot:
    """Loads a state that `write_checkpoint` wrote into a learner, or leaves the learner as it is.

    Returns:
        the state.

    Raises:
        ModelError: the files are missing or damaged, belong to a different training, or do not fit the model.
    """
    try:
        state = dict(read_json(folder / STATE))
        tensors = load_file(folder / TENSORS)
        tensors_sha256 = file_sha256(folder / TENSORS)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ModelError("cannot read the checkpoint", where=str(folder), seen=str(error)) from error
    for key, expected in (("format", FORMAT), ("inputs_sha256", inputs_sha256), ("tensors_sha256", tensors_sha256)):
        if state.get(key) != expected:
            raise ModelError(
                "the checkpoint is damaged" if key == "tensors_sha256" else "the checkpoint is of a different training",
                where=f"{folder}: {key}",
                seen=state.get(key),
                allowed=expected,
            )
    taken = Snapshot(tensors=tensors, state=state)
    restore(learner, taken, where=str(folder))
    return taken


def restore(learner: Learner, taken: Snapshot, *, where: str = "the first worker's state") -> None:
    """Puts a copy of the state into a learner, or leaves the learner as it is.

    Raises:
        ModelError: it does not fit the model.
    """
    tensors, state = taken.tensors, taken.state
    kinds = ("weight", "average", *(MOMENTS if state["updates"] else ()))
    fitting = {
        name: {kind: _fitting(tensors, f"{kind}.{name}", parameter, where) for kind in kinds}
        for name, parameter in learner.parameters.items()
    }
    with torch.no_grad():
        for name, parameter in learner.parameters.items():
            placed = {kind: learner.placement.placed(value, parameter) for kind, value in fitting[name].items()}
            parameter.copy_(placed["weight"])
            learner.ema[name].copy_(placed["average"])
            if state["updates"]:
                learner.optimiser.state[parameter] = {
                    "step": torch.tensor(float(state["updates"]), device=parameter.device),
                    **{moment: placed[moment] for moment in MOMENTS},
                }
    learner.samples = state["samples"]
    learner.epoch_sums = dict(state["epoch_sums"])
    learner.history = list(state["history"])


def _fitting(tensors: dict[str, Tensor], name: str, parameter: Tensor, where: str) -> Tensor:
    stored_shape = tuple(tensors[name].shape) if name in tensors else "missing"
    shape = tuple(parameter.shape)
    if stored_shape != shape:
        raise ModelError(
            "the checkpoint does not fit the model",
            where=f"{where}: {name}",
            seen=stored_shape,
            allowed=shape,
        )
    return tensors[name]
