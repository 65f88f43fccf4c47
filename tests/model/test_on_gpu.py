"""A model on a GPU answers as it does on a CPU."""

from __future__ import annotations

import pytest
import torch

from components.model.base import ModelOutput
from components.model.build import build_model
from components.model.streaming import StreamingModel
from components.training.samples.items import Batch, collate
from tests.model.toys import Toy, toy_spec

pytestmark = pytest.mark.gpu


def answer(batch: Batch, *, bf16: bool = False, **model: object) -> ModelOutput:
    """What a model of fixed weights says, on the batch's device."""
    torch.manual_seed(0)
    made = build_model(toy_spec(**model)).eval().to(batch.clip_labels.device)
    with torch.no_grad(), torch.autocast(batch.clip_labels.device.type, torch.bfloat16, enabled=bf16):
        return made(batch.features, batch.masks)


@pytest.fixture
def batches() -> tuple[Batch, Batch]:
    """The same clips here and there."""
    batch = collate(Toy(clips=5).items())
    return batch, batch.to(torch.device("cuda"))


@pytest.mark.parametrize("fusion", ["bidirectional", "one_way", "concatenation"])
def test_it_answers_the_same(batches: tuple[Batch, Batch], fusion: str) -> None:
    here, there = (answer(batch, fusion=fusion) for batch in batches)
    valid_BT = torch.stack(list(batches[0].masks.values())).any(0)
    assert torch.allclose(there.clip_logits.cpu(), here.clip_logits, atol=1e-3)
    assert torch.allclose(there.step_logits.cpu()[valid_BT], here.step_logits[valid_BT], atol=1e-3)


def test_bf16_is_finite_and_close(batches: tuple[Batch, Batch]) -> None:
    _, there = batches
    exact, rounded = answer(there).clip_logits, answer(there, bf16=True).clip_logits.float()
    assert bool(rounded.isfinite().all())
    assert torch.allclose(rounded.softmax(-1), exact.softmax(-1), atol=0.02)


def test_a_stream_is_its_whole_sequence() -> None:
    torch.manual_seed(0)
    model = build_model(toy_spec(causal=True)).eval().cuda()
    streaming = StreamingModel(model)
    batch = collate(Toy(clips=3).items()).to(torch.device("cuda"))
    with torch.no_grad():
        whole = model(batch.features, batch.masks)
    state = streaming.start(clips=3)
    any_BT = torch.stack(list(batch.masks.values())).any(0)
    for step in range(any_BT.shape[1]):
        output, state = streaming.step(
            {name: values[:, step] for name, values in batch.features.items()},
            {name: mask[:, step] for name, mask in batch.masks.items()},
            state,
        )
        valid_B = any_BT[:, step]
        assert torch.allclose(output.step_logits[valid_B], whole.step_logits[:, step][valid_B], atol=1e-4)
    assert torch.allclose(output.clip_logits, whole.clip_logits, atol=1e-4)
