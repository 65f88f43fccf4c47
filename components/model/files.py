"""A model as files: `model.safetensors` (weights) beside `model.json` (its spec). Nothing in them can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.contracts.atomic import atomic_file, read_json, write_json
from components.contracts.errors import ModelError
from components.model.build import EmotionModel, build_model
from components.model.spec import ModelSpec

WEIGHTS = "model.safetensors"
SPEC = "model.json"


def save_model(folder: Path, spec: ModelSpec, weights: Mapping[str, Tensor]) -> None:
    """Writes both files; equal weights give equal bytes."""
    plain = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
    with atomic_file(folder / WEIGHTS) as beside:
        save_file(plain, beside)
    write_json(folder / SPEC, spec.to_json())


def load_model(folder: Path, *, classes: tuple[str, ...] | None = None) -> EmotionModel:
    """The model of a folder, in evaluation mode on the CPU.

    Args:
        folder: what `save_model` wrote.
        classes: the caller's label map, if it must agree.

    Raises:
        ModelError: a file is missing or damaged, the weights do not fit the spec, or the label map differs.
    """
    try:
        spec = ModelSpec.from_json(read_json(folder / SPEC))
        weights = load_file(folder / WEIGHTS)
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise ModelError("cannot read the model", where=str(folder), seen=str(error)) from error
    spec.check(classes=classes)
    model = build_model(spec)
    load_weights(model, weights, where=str(folder))
    return model.eval()


def load_weights(model: EmotionModel, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Puts weights into a model. Raises ModelError naming the first tensor that is missing, unknown or misshapen."""
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        stored_shape = tuple(weights[name].shape) if name in weights else "missing"
        own_shape = tuple(own[name].shape) if name in own else "no such tensor"
        if stored_shape != own_shape:
            raise ModelError(
                "the weights do not fit the model", where=f"{where}: {name}", seen=stored_shape, allowed=own_shape
            )
    model.load_state_dict(dict(weights))
