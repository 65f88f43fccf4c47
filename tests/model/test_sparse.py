from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from components.contracts.config import Model
from components.model import attention, sparse
from components.model.base import ModelOutput
from components.model.build import build_model
from components.model.spec import ModelSpec

WIDTHS = {"face": 16, "voice": 12, "text": 10}
CLIPS, STEPS = 12, 20


def spec() -> ModelSpec:
    return ModelSpec(
        modalities=WIDTHS,
        classes=("a", "b", "c"),
        model=Model(dropout=0.0, statistics_dropout=0.0),
        absent=(),
        rate_hz=10.0,
        valence_arousal=True,
    )


def batch(face: int, voice: int, text: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A batch in which so many clips have each modality, and NaN stands where nothing is; faces last three steps."""
    generator = torch.Generator().manual_seed(3)
    features = {name: torch.randn(CLIPS, STEPS, width, generator=generator) for name, width in WIDTHS.items()}
    masks = {name: torch.rand(CLIPS, STEPS, generator=generator) < 0.7 for name in WIDTHS}
    masks["face"][:, :3] = True
    masks["face"][:, 3:] = False
    masks["face"][face:] = False
    masks["voice"][: CLIPS - voice] = False
    masks["text"][text:] = False
    return {name: values.masked_fill(~masks[name][..., None], torch.nan) for name, values in features.items()}, masks


def tensors(output: ModelOutput) -> dict[str, Tensor]:
    assert output.valence_arousal is not None
    assert output.step_valence_arousal is not None
    return {
        "step": output.step_logits,
        "clip": output.clip_logits,
        "mood": output.valence_arousal,
        "mood over time": output.step_valence_arousal,
        **output.clip_ways,
        **output.unimodal_clip_logits,
        **{f"steps of {name}": scores for name, scores in output.unimodal_step_logits.items()},
    }


@pytest.fixture
def every_row(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Turns the choice of rows off."""

    def off() -> None:
        for module in (sparse, attention):
            monkeypatch.setattr(module, "few_rows", lambda _: None)

    return off


@pytest.mark.parametrize(
    "present", [(2, 4, 9), (1, 0, 12), (0, 0, 12), (6, 6, 6), (12, 12, 12), (0, 1, 0), (12, 1, 1)], ids=str
)
def test_a_batch_of_few_gives_what_the_whole_gives(
    present: tuple[int, int, int], every_row: Callable[[], None]
) -> None:
    torch.manual_seed(4)
    model = build_model(spec())  # in training mode, without chance: what differs is only which rows are computed
    model.eval()
    features, masks = batch(*present)
    few = model(features, masks)
    sum(values.sum() for values in tensors(few).values()).backward()
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    every_row()
    whole = model(features, masks)
    sum(values.sum() for values in tensors(whole).values()).backward()
    for name, values in tensors(whole).items():
        torch.testing.assert_close(tensors(few)[name], values, rtol=1e-5, atol=1e-5)
    for name, value in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(gradients[name], value.grad, rtol=1e-4, atol=1e-4)
        elif value.grad is not None:
            assert not value.grad.any(), name


def test_a_layer_sees_only_the_clips_and_steps_that_are_there() -> None:
    shapes = []

    def layer(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        shapes.append(tuple(x_BTD.shape))
        return x_BTD * mask_BT[..., None]

    features, masks = batch(2, 4, 9)
    x_BTD = torch.nan_to_num(features["face"])
    assert torch.equal(sparse.over_present(layer, x_BTD, masks["face"], width=16), x_BTD)
    assert shapes == [(2, 3, 16)]
    sparse.over_present(layer, torch.nan_to_num(features["text"]), masks["text"], width=10)
    assert shapes[1] == (CLIPS, STEPS, 10)
