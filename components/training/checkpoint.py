"""The whole state of a training as files, written atomically: `state.safetensors` and `state.json`.

Resume is exact at every batch boundary with the same number of workers: weights, average, moments and samples consumed
are the whole state; order, learning rate and random seeds follow from (seed, step). Any other number of workers goes on
from it too: the order and the gradient stay the same up to rounding, and the draws of dropout differ.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.contracts.atomic import atomic_dir, read_json, write_json
from components.contracts.errors import ModelError
from components.training.learner import Learner

TENSORS = "state.safetensors"
STATE = "state.json"
FORMAT = 1
MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(folder: Path, learner: Learner, *, inputs_sha256: str) -> None:
    """Writes the state into a folder of its own. `inputs_sha256` identifies the training that can resume it."""
    tensors: dict[str, Tensor] = {}
    updates = 0
    for name, parameter in learner.parameters.items():
        tensors[f"weight.{name}"] = parameter
        tensors[f"average.{name}"] = learner.ema[name]
        moments = learner.optimiser.state[parameter]
        for moment in MOMENTS:
            if moment in moments:
                tensors[f"{moment}.{name}"] = moments[moment]
                updates = int(moments["step"])
    with atomic_dir(folder) as beside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside / TENSORS)
        write_json(
            beside / STATE,
            {
                "format": FORMAT,
                "inputs_sha256": inputs_sha256,
                "samples": learner.samples,
                "updates": updates,
                "epoch_sums": learner.epoch_sums,
                "history": learner.history,
                "spec": learner.spec.to_json(),
            },
        )


def load_checkpoint(folder: Path, learner: Learner, *, inputs_sha256: str) -> None:
    """Loads a state that `save_checkpoint` wrote into a learner.

    Raises:
        ModelError: the files are missing or damaged, belong to a different training, or do not fit the model.
    """
    try:
        state = read_json(folder / STATE)
        tensors = load_file(folder / TENSORS)
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise ModelError("cannot read the checkpoint", where=str(folder), seen=str(error)) from error
    for key, expected in (("format", FORMAT), ("inputs_sha256", inputs_sha256)):
        if state.get(key) != expected:
            raise ModelError(
                "the checkpoint belongs to a different training",
                where=f"{folder}: {key}",
                seen=state.get(key),
                allowed=expected,
                remedy="Remove .mer/train to start anew.",
            )
    moments = MOMENTS if state["updates"] else ()
    with torch.no_grad():
        for name, parameter in learner.parameters.items():
            parameter.copy_(_fitting(tensors, f"weight.{name}", parameter, folder))
            learner.ema[name].copy_(_fitting(tensors, f"average.{name}", parameter, folder))
            if moments:
                learner.optimiser.state[parameter] = {
                    "step": torch.tensor(float(state["updates"]), device=parameter.device),
                    **{
                        moment: _fitting(tensors, f"{moment}.{name}", parameter, folder).to(parameter.device)
                        for moment in moments
                    },
                }
    learner.samples = state["samples"]
    learner.epoch_sums = dict(state["epoch_sums"])
    learner.history = list(state["history"])


def _fitting(tensors: dict[str, Tensor], name: str, parameter: Tensor, folder: Path) -> Tensor:
    stored_shape = tuple(tensors[name].shape) if name in tensors else "missing"
    shape = tuple(parameter.shape)
    if stored_shape != shape:
        raise ModelError(
            "the checkpoint does not fit the model",
            where=f"{folder}: {name}",
            seen=stored_shape,
            allowed=shape,
        )
    return tensors[name]
