from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from components.model.base import EmotionModel
from components.model.build import build_model
from components.model.carried import carry_over, shared_classes
from components.model.spec import ModelSpec
from components.training.samples.items import collate
from tests.model.toys import CLASSES, WIDTHS, Toy, toy_spec

FUSIONS = ["bidirectional", "one_way", "concatenation", "product"]


def fresh(spec: ModelSpec, seed: int) -> EmotionModel:
    torch.manual_seed(seed)
    model = build_model(spec)
    if (statistics := getattr(model, "statistics", None)) is not None:
        for layer in statistics.by_modality.values():
            torch.nn.init.uniform_(layer.centre)
            torch.nn.init.uniform_(layer.spread, 0.5, 1.5)
    return model.eval()


def carried(spec: ModelSpec, earlier: ModelSpec, modalities: tuple[str, ...]) -> tuple[EmotionModel, EmotionModel]:
    """(the new model, the earlier one)."""
    new, old = fresh(spec, 1), fresh(earlier, 2)
    carry_over(new, old.state_dict(), earlier, modalities=modalities)
    return new, old


def equal(one: dict[str, Tensor], other: dict[str, Tensor], names: tuple[str, ...]) -> bool:
    return all(torch.allclose(one[name], other[name], atol=1e-6) for name in names)


@pytest.mark.parametrize(("fusion", "head"), product(FUSIONS, ["temporal", "all"]))
def test_all_of_an_equal_model_is_that_model(fusion: str, head: str) -> None:
    spec = replace(toy_spec(fusion=fusion, clip_head=head), valence_arousal=True, embedding=7)
    new, old = carried(spec, spec, tuple(WIDTHS))
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in new.state_dict().items())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_model_of_fewer_modalities_reads_these_as_the_earlier_one_without_the_others(fusion: str) -> None:
    earlier = toy_spec(fusion=fusion, clip_head="all")
    spec = replace(earlier, modalities={name: WIDTHS[name] for name in ("face", "voice")})
    new, old = carried(spec, earlier, ("face", "voice"))
    batch = collate(Toy(clips=4, missing=0.0).items())
    features = {name: batch.features[name] for name in spec.names}
    masks = {name: batch.masks[name] for name in spec.names}
    one, other = new(features, masks), old(features, masks)
    assert equal(one.unimodal_clip_logits, other.unimodal_clip_logits, spec.names)
    assert equal(one.unimodal_step_logits, other.unimodal_step_logits, spec.names)
    assert torch.allclose(one.clip_ways["statistics"], other.clip_ways["statistics"], atol=1e-5)
    assert torch.allclose(one.clip_logits, other.clip_logits, atol=1e-5)
    assert torch.allclose(one.step_logits, other.step_logits, atol=1e-5)


def test_what_another_encoder_reads_stays_as_it_was_drawn_and_the_rest_is_taken() -> None:
    earlier = toy_spec(clip_head="all")
    spec = replace(earlier, modalities={**WIDTHS, "voice": 33, "physio": 4})
    new, old = carried(spec, earlier, ("face", "text"))
    drawn = fresh(spec, 1).state_dict()
    for name, value in new.state_dict().items():
        if "voice" in name or "physio" in name:
            assert torch.equal(value, drawn[name]), name
        elif "face" in name or "text" in name:
            assert torch.equal(value, old.state_dict()[name]), name
    columns = new.state_dict()["statistics.hidden.weight"]
    of_drawn, of_old = drawn["statistics.hidden.weight"], old.state_dict()["statistics.hidden.weight"]
    # In the order of the modalities: face 24, voice 66, text 12, physio 8; before, face 24, voice 20, text 12.
    assert torch.equal(columns[:, :24], of_old[:, :24])
    assert torch.equal(columns[:, 24:90], of_drawn[:, 24:90])
    assert torch.equal(columns[:, 90:102], of_old[:, 44:])
    assert torch.equal(columns[:, 102:], of_drawn[:, 102:])


def test_classes_are_taken_by_name_and_only_where_they_were_learned() -> None:
    earlier = replace(toy_spec(clip_head="all"), absent=("class7",))
    spec = replace(toy_spec(clip_head="all"), classes=("class7", "new", "class3", "class0"))
    assert shared_classes(spec, earlier) == ("class3", "class0")
    new, old = carried(spec, earlier, tuple(WIDTHS))
    drawn = fresh(spec, 1).state_dict()
    for head in ("step_head", "clip_head", "statistics", "unimodal_clip.face", "unimodal_step.text"):
        name = f"{head}.out.weight"
        rows, before = new.state_dict()[name], old.state_dict()[name]
        assert torch.equal(rows[:2], drawn[name][:2]), name
        assert torch.equal(rows[2], before[3]), name
        assert torch.equal(rows[3], before[0]), name
    assert CLASSES[0] == "class0"


def test_a_head_that_the_earlier_model_lacks_starts_anew() -> None:
    earlier = toy_spec(clip_head="temporal")
    spec = replace(toy_spec(clip_head="all"), valence_arousal=True)
    new, old = carried(spec, earlier, tuple(WIDTHS))
    drawn = fresh(spec, 1).state_dict()
    assert torch.equal(new.state_dict()["statistics.hidden.weight"], drawn["statistics.hidden.weight"])
    assert torch.equal(new.state_dict()["clip_head.hidden.weight"], old.state_dict()["clip_head.hidden.weight"])
    assert all(torch.equal(value, drawn[name]) for name, value in new.state_dict().items() if "affect" in name)
