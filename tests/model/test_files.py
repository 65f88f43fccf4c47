from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.contracts.errors import ModelError
from components.model.build import build_model
from components.model.files import SPEC, WEIGHTS, load_model, save_model
from tests.model.toys import CLASSES, toy_spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = build_model(toy_spec())
    save_model(tmp_path, model.spec, dict(model.named_parameters()))
    return tmp_path


def test_round_trip_gives_equal_answers_and_equal_bytes(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, classes=CLASSES)
    assert not model.training
    save_model(tmp_path / "again", model.spec, model.state_dict())
    for name in (WEIGHTS, SPEC):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_another_label_map_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="a different label map"):
        load_model(folder, classes=CLASSES[1:])


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, "step_head.out.weight": torch.zeros(3, 24)}, folder / WEIGHTS)
    with pytest.raises(ModelError, match=r"step_head\.out\.weight.*\(3, 24\).*\(8, 24\)"):
        load_model(folder)
    del weights["step_head.out.weight"]
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(ModelError, match=r"step_head\.out\.weight.*missing"):
        load_model(folder)


@pytest.mark.parametrize("damage", ["missing", "truncated", "no_json"])
def test_damaged_files_are_model_errors(folder: Path, damage: str) -> None:
    if damage == "missing":
        (folder / WEIGHTS).unlink()
    elif damage == "truncated":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    else:
        (folder / SPEC).write_text("{")
    with pytest.raises(ModelError, match="cannot read the model"):
        load_model(folder)
