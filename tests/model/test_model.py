from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from components.contracts.errors import ModelError
from components.model import attention
from components.model.base import ABSENT_LOGIT, ModelOutput, count_parameters
from components.model.model import TemporalModel, cross_pairs
from components.model.spec import ModelSpec
from components.training.samples.items import collate
from tests.model.toys import CLASSES, WIDTHS, Toy, toy_spec

FUSIONS = ["bidirectional", "one_way", "concatenation", "product"]


def model(**fields: object) -> TemporalModel:
    """With every head there is."""
    torch.manual_seed(0)
    return TemporalModel(replace(toy_spec(**fields), valence_arousal=True, embedding=7)).eval()


def scores_of(output: ModelOutput) -> list[torch.Tensor]:
    unimodal = [*output.unimodal_clip_logits.values(), *output.unimodal_step_logits.values()]
    return [output.step_logits, output.clip_logits, *unimodal]


def tensors(output: ModelOutput) -> list[torch.Tensor]:
    others = [output.valence_arousal, output.step_valence_arousal, output.embedding]
    return [*scores_of(output), *(tensor for tensor in others if tensor is not None)]


@pytest.mark.parametrize(("fusion", "causal"), product(FUSIONS, [False, True]))
def test_padding_and_neighbours_change_nothing(fusion: str, causal: bool) -> None:
    net = model(fusion=fusion, causal=causal)
    items = Toy(clips=5).items()
    batch = collate(items)
    together = net(batch.features, batch.masks)
    for row, item in enumerate(items):
        alone_batch = collate([item])
        alone = net(alone_batch.features, alone_batch.masks)
        assert torch.allclose(together.clip_logits[row], alone.clip_logits[0], atol=1e-6)
        assert torch.allclose(together.valence_arousal[row], alone.valence_arousal[0], atol=1e-6)
        assert torch.allclose(together.embedding[row], alone.embedding[0], atol=1e-6)
        valid = torch.stack(list(alone_batch.masks.values())).any(0)[0]
        for many, one in (
            (together.step_logits, alone.step_logits),
            (together.step_valence_arousal, alone.step_valence_arousal),
        ):
            assert torch.allclose(many[row, : item.steps][valid], one[0][valid], atol=1e-6)
        for name in WIDTHS:
            one, other = together.unimodal_clip_logits[name][row], alone.unimodal_clip_logits[name][0]
            assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("pattern", list(product([True, False], repeat=3)))
def test_every_missing_pattern_is_finite_forward_and_backward(fusion: str, pattern: tuple[bool, ...]) -> None:
    net = model(fusion=fusion).train()
    batch = collate(Toy(clips=3, missing=0.0).items())
    masks = {name: batch.masks[name] & on for name, on in zip(sorted(WIDTHS), pattern, strict=True)}
    output = net(batch.features, masks)
    assert all(values.isfinite().all() for values in tensors(output))
    sum(values.square().sum() for values in tensors(output)).backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_modality_left_out_is_a_modality_masked(fusion: str) -> None:
    net = model(fusion=fusion)
    batch = collate(Toy(clips=4, missing=0.0).items())
    masks = dict(batch.masks, voice=torch.zeros_like(batch.masks["voice"]))
    masked = net(batch.features, masks)
    features = {name: values for name, values in batch.features.items() if name != "voice"}
    left_out = net(features, {name: masks[name] for name in features})
    assert all(torch.equal(one, other) for one, other in zip(tensors(masked), tensors(left_out), strict=True))


def test_nan_at_invalid_steps_is_never_read() -> None:
    net = model()
    batch = collate(Toy(clips=4, missing=0.3).items())
    poisoned = {
        name: torch.where(batch.masks[name][..., None], values, float("nan")) for name, values in batch.features.items()
    }
    clean, dirty = net(batch.features, batch.masks), net(poisoned, batch.masks)
    assert all(torch.equal(one, other) for one, other in zip(tensors(clean), tensors(dirty), strict=True))


def test_the_order_of_modalities_does_not_matter() -> None:
    batch = collate(Toy(clips=4).items())
    backwards = dict(reversed(list(batch.features.items())))
    spec = model().spec
    torch.manual_seed(0)
    net = TemporalModel(replace(spec, modalities=dict(reversed(list(spec.modalities.items()))))).eval()
    one, two = model()(batch.features, batch.masks), net(backwards, batch.masks)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))


def test_causal_steps_do_not_see_the_future() -> None:
    net = model(causal=True)
    batch = collate(Toy(clips=2, steps=(24, 24), missing=0.0).items())
    whole = net(batch.features, batch.masks)
    early = net(
        {name: values[:, :15] for name, values in batch.features.items()},
        {name: mask[:, :15] for name, mask in batch.masks.items()},
    )
    assert torch.allclose(whole.step_logits[:, :15], early.step_logits, atol=1e-5)
    looking = model(causal=False)(batch.features, batch.masks).step_logits[:, :15]
    assert not torch.allclose(looking, early.step_logits, atol=1e-2)


def test_unimodal_scores_are_a_modalitys_own_opinion() -> None:
    net = model()
    batch = collate(Toy(clips=3, missing=0.0).items())
    changed = dict(batch.features, voice=batch.features["voice"] + 3)
    one, other = net(batch.features, batch.masks), net(changed, batch.masks)
    assert torch.equal(one.unimodal_clip_logits["face"], other.unimodal_clip_logits["face"])
    assert torch.equal(one.unimodal_step_logits["text"], other.unimodal_step_logits["text"])
    assert not torch.equal(one.unimodal_clip_logits["voice"], other.unimodal_clip_logits["voice"])


def test_absent_classes_are_never_predicted() -> None:
    spec = toy_spec()
    net = TemporalModel(
        ModelSpec(modalities=WIDTHS, classes=CLASSES, model=spec.model, absent=("class2", "class5"))
    ).eval()
    batch = collate(Toy(clips=4).items())
    for scores in scores_of(net(batch.features, batch.masks)):
        assert (scores[..., [2, 5]] == ABSENT_LOGIT).all()
        assert (scores.softmax(-1)[..., [2, 5]] == 0).all()
        assert ((scores / 10).softmax(-1)[..., [2, 5]] == 0).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_modality_is_enough_and_one_step_too(fusion: str) -> None:
    spec = ModelSpec(modalities={"voice": 4}, classes=CLASSES, model=toy_spec(fusion=fusion).model)
    net = TemporalModel(spec)
    output = net({"voice": torch.randn(1, 1, 4)}, {"voice": torch.ones(1, 1, dtype=torch.bool)})
    assert output.step_logits.shape == (1, 1, 8)
    assert net.attention is None
    sum(values.square().sum() for values in tensors(output)).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in net.parameters())


def test_a_product_is_that_of_the_present_modalities_own_opinions() -> None:
    net = model(fusion="product")
    batch = collate(Toy(clips=6, missing=0.3).items())
    with torch.no_grad():
        net.clip_experts.log_beta_M.copy_(torch.tensor([0.0, 0.5, -0.5]))
    output = net(batch.features, batch.masks)
    beta = dict(zip(net.spec.names, (1.0, math.exp(0.5), math.exp(-0.5)), strict=True))
    for row in range(6):
        log_p = sum(
            beta[name] * output.unimodal_clip_logits[name][row].log_softmax(-1)
            for name in net.spec.names
            if batch.masks[name][row].any()
        )
        assert torch.allclose(output.clip_logits[row].softmax(-1), log_p.softmax(-1), atol=1e-5)
    step = sum(
        output.unimodal_step_logits[name].log_softmax(-1) * batch.masks[name].unsqueeze(-1) for name in net.spec.names
    )
    valid = torch.stack(list(batch.masks.values())).any(0)
    assert torch.allclose(output.step_logits.softmax(-1)[valid], step.softmax(-1)[valid], atol=1e-5)
    # The shared scores teach their exponents alone.
    (output.clip_logits.square().sum() + output.step_logits.square().sum()).backward()
    touched = {name for name, value in net.named_parameters() if value.grad is not None and value.grad.any()}
    assert touched == {"clip_experts.log_beta_M", "step_experts.log_beta_M"}


def test_a_head_exists_only_where_it_was_asked_for() -> None:
    net = TemporalModel(toy_spec()).eval()
    batch = collate(Toy(clips=2).items())
    plain = net(batch.features, batch.masks)
    assert (plain.valence_arousal, plain.step_valence_arousal, plain.embedding) == (None, None, None)
    full = model()(batch.features, batch.masks)
    assert full.valence_arousal.shape == (2, 2)
    assert full.step_valence_arousal.shape == (*batch.step_labels.shape, 2)
    assert torch.allclose(full.embedding.norm(dim=-1), torch.ones(2))
    extra = {name.split(".")[0] for name in model().state_dict().keys() - net.state_dict().keys()}
    assert extra == {"affect", "embedding"}


@pytest.mark.parametrize("causal", [False, True])
def test_a_long_clip_in_blocks_is_the_clip_in_one(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model(causal=causal, attention_window_s=3.0)
    batch = collate(Toy(clips=1, steps=(700, 700)).items())
    with torch.inference_mode():
        blocked = net(batch.features, batch.masks)
        monkeypatch.setattr(attention, "QUERY_BLOCK_STEPS", 10_000)
        whole = net(batch.features, batch.masks)
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(tensors(blocked), tensors(whole), strict=True))


@pytest.mark.parametrize(
    ("features", "masks", "words"),
    [
        ({}, {}, "at least one"),
        ({"face": (1, 2, 12)}, {}, "same modalities"),
        ({"fase": (1, 2, 12)}, {"fase": (1, 2)}, "Did you mean 'face'"),
        ({"face": (1, 2, 13)}, {"face": (1, 2)}, "a different width"),
        ({"face": (1, 2, 12)}, {"face": (1, 3)}, r"\(B, T, D\)"),
        ({"face": (1, 2, 12), "voice": (1, 3, 10)}, {"face": (1, 2), "voice": (1, 3)}, "differ in clips or steps"),
    ],
)
def test_wrong_inputs_are_named(features: dict, masks: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        model()(
            {name: torch.zeros(shape) for name, shape in features.items()},
            {name: torch.ones(shape, dtype=torch.bool) for name, shape in masks.items()},
        )


def test_pairs_of_each_kind_of_fusion() -> None:
    names = ("face", "voice", "text")
    assert len(cross_pairs(names, "bidirectional")) == 6
    assert cross_pairs(names, "one_way") == [("face", "voice"), ("face", "text")]
    assert cross_pairs(names, "concatenation") == cross_pairs(names, "product") == []
    assert cross_pairs(("face",), "bidirectional") == []


def test_parameters_are_counted() -> None:
    net = torch.nn.Linear(3, 4)
    assert count_parameters(net) == 16
    net.bias.requires_grad_(False)
    assert count_parameters(net) == 12
