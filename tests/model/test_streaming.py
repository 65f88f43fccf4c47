from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.contracts.config import Model
from components.contracts.errors import ModelError
from components.model.base import ABSENT_LOGIT, ModelOutput
from components.model.model import TemporalModel
from components.model.spec import ModelSpec
from components.model.streaming import StepOutput, StreamingModel, StreamState

WIDTHS = {"face": 5, "voice": 4, "text": 3}
CLASSES = ("calm", "happy", "sad", "angry")
STEPS = 60
TOLERANCE = 1e-5


def causal_model(
    *, widths: dict[str, int] | None = None, causal: bool = True, affect: bool = False, **fields: object
) -> TemporalModel:
    """A window of 10 steps and convolutions that reach 14 steps back: both end within `STEPS`."""
    torch.manual_seed(3)
    model = {"width": 16, "heads": 2, "tcn_blocks": 3, "attention_window_s": 1.0, "causal": causal, **fields}
    spec = ModelSpec(
        modalities=widths or WIDTHS,
        classes=CLASSES,
        model=Model.model_validate(model),
        absent=("angry",),
        valence_arousal=affect,
    )
    return TemporalModel(spec).eval()


def clips(model: TemporalModel, *, count: int, seed: int = 4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Holes at random, a modality that comes late, one that goes for longer than any memory, steps without any."""
    generator = torch.Generator().manual_seed(seed)
    names = model.spec.names
    masks = {name: torch.rand(count, STEPS, generator=generator) > 0.2 for name in names}
    masks[names[0]][0, :20] = False
    masks[names[-1]][0, 18:48] = False
    masks[names[-1]][-1, :5] = False
    for mask in masks.values():
        mask[0, :3] = False
        mask[-1, 26:31] = False
    features = {}
    for name, width in model.spec.modalities.items():
        values = torch.randn(count, STEPS, width, generator=generator)
        features[name] = torch.where(masks[name].unsqueeze(-1), values, float("nan"))
    return features, masks


def stream(
    streaming: StreamingModel,
    features: dict[str, Tensor],
    masks: dict[str, Tensor],
    *,
    state: StreamState | None = None,
    first: int = 0,
) -> tuple[list[StepOutput], StreamState]:
    some = next(iter(masks.values()))
    state = state or streaming.start(some.shape[0])
    outputs = []
    for step in range(first, some.shape[1]):
        output, state = streaming.step(
            {name: values[:, step] for name, values in features.items()},
            {name: mask[:, step] for name, mask in masks.items()},
            state,
        )
        outputs.append(output)
    return outputs, state


def whole(model: TemporalModel, features: dict[str, Tensor], masks: dict[str, Tensor], steps: int) -> ModelOutput:
    with torch.inference_mode():
        return model(
            {name: values[:, :steps] for name, values in features.items()},
            {name: mask[:, :steps] for name, mask in masks.items()},
        )


def assert_close(seen: Tensor, wanted: Tensor, what: str) -> None:
    assert seen.shape == wanted.shape, what
    assert torch.allclose(seen, wanted, rtol=0, atol=TOLERANCE), f"{what}: {(seen - wanted).abs().max()}"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("fusion", ["bidirectional", "one_way", "concatenation", "product"])
def test_every_step_equals_the_whole_sequence_and_every_clip_its_prefix(fusion: str, count: int) -> None:
    model = causal_model(fusion=fusion, affect=True)
    features, masks = clips(model, count=count)
    outputs, _ = stream(StreamingModel(model), features, masks)
    total = whole(model, features, masks, STEPS)
    for step, output in enumerate(outputs):
        prefix = whole(model, features, masks, step + 1)
        assert_close(output.step_logits, total.step_logits[:, step], f"step {step}")
        assert_close(output.clip_logits, prefix.clip_logits, f"clip up to step {step}")
        for name in WIDTHS:
            own = total.unimodal_step_logits[name][:, step]
            assert_close(output.unimodal_step_logits[name], own, f"{name} at step {step}")
            assert_close(output.unimodal_clip_logits[name], prefix.unimodal_clip_logits[name], f"{name} up to {step}")
        assert output.valence_arousal is not None
        assert output.step_valence_arousal is not None
        assert_close(output.valence_arousal, prefix.valence_arousal, f"affect up to {step}")
        assert_close(output.step_valence_arousal, total.step_valence_arousal[:, step], f"affect at step {step}")


@pytest.mark.parametrize(
    "fields",
    [{"widths": {"voice": 4}}, {"tcn_blocks": 0}, {"tcn_kernel": 4}, {"conflict_features": False}],
    ids=["one modality", "no convolution", "even kernel", "no conflict"],
)
def test_other_shapes_of_model_stream_as_well(fields: dict[str, object]) -> None:
    model = causal_model(**fields)  # type: ignore[arg-type]
    features, masks = clips(model, count=2)
    outputs, _ = stream(StreamingModel(model), features, masks)
    total = whole(model, features, masks, STEPS)
    assert_close(torch.stack([output.step_logits for output in outputs], dim=1), total.step_logits, "steps")
    assert_close(outputs[-1].clip_logits, total.clip_logits, "clip")


def test_the_clip_follows_a_peak_of_attention_and_forgets_nothing_before_it() -> None:
    model = causal_model()
    features, masks = clips(model, count=2)
    with torch.no_grad():
        model.clip_head.score.weight.mul_(60)
    outputs, _ = stream(StreamingModel(model), features, masks)
    for step, output in enumerate(outputs):
        assert_close(output.clip_logits, whole(model, features, masks, step + 1).clip_logits, f"up to step {step}")


def test_a_modality_left_out_is_one_that_is_absent() -> None:
    model = causal_model()
    features, masks = clips(model, count=1)
    del features["voice"], masks["voice"]
    outputs, _ = stream(StreamingModel(model), features, masks)
    total = whole(model, features, masks, STEPS)
    assert_close(torch.cat([output.step_logits for output in outputs]), total.step_logits[0], "steps")
    assert_close(outputs[-1].clip_logits, total.clip_logits, "clip")


def test_a_class_that_training_never_saw_stays_closed() -> None:
    model = causal_model()
    output = stream(StreamingModel(model), *clips(model, count=1))[0][-1]
    for logits in (output.step_logits, output.clip_logits, *output.unimodal_clip_logits.values()):
        assert logits[0, CLASSES.index("angry")] == ABSENT_LOGIT


def test_the_state_does_not_grow() -> None:
    streaming = StreamingModel(causal_model())
    state, sizes = streaming.start(), {}
    generator = torch.Generator().manual_seed(5)
    for step in range(1, 601):
        features = {name: torch.randn(1, width, generator=generator) for name, width in WIDTHS.items()}
        present = {name: torch.rand(1, generator=generator) > 0.2 for name in WIDTHS}
        _, state = streaming.step(features, present, state)
        if step in (10, 600):
            tensors = [
                *(tensor for past in state.encoders.values() for tensor in past),
                *(tensor for cache in state.key_value_cache.values() for tensor in cache),
                *state.clip,
                *(tensor for pool in state.unimodal.values() for tensor in pool),
            ]
            held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
            sizes[step] = (sum(tensor.numel() for tensor in state.to_tensors().values()), sum(held.values()))
    elements, _ = sizes[10]
    assert sizes[600] == sizes[10]
    assert elements == sum(tensor.numel() for tensor in streaming.start().to_tensors().values())


@pytest.mark.parametrize("fusion", ["bidirectional", "product"])
def test_a_stream_moves_to_another_process_as_a_file(fusion: str, tmp_path: Path) -> None:
    model = causal_model(fusion=fusion)
    features, masks = clips(model, count=2)
    straight, _ = stream(StreamingModel(model), features, masks)
    half = {name: values[:, :30] for name, values in features.items()}
    _, state = stream(StreamingModel(model), half, {name: mask[:, :30] for name, mask in masks.items()})
    save_file(state.to_tensors(), tmp_path / "state.safetensors")

    elsewhere = StreamingModel(causal_model(fusion=fusion))
    state = elsewhere.from_tensors(load_file(tmp_path / "state.safetensors"))
    rest, _ = stream(elsewhere, features, masks, state=state, first=30)
    for one, other in zip(straight[30:], rest, strict=True):
        assert torch.equal(one.step_logits, other.step_logits)
        assert torch.equal(one.clip_logits, other.clip_logits)


def test_a_step_leaves_the_state_it_was_given_as_it_was() -> None:
    model = causal_model()
    streaming = StreamingModel(model)
    _, state = stream(streaming, *clips(model, count=1))
    before = state.to_tensors()
    features, present = {"face": torch.randn(1, 5)}, {"face": torch.tensor([True])}
    first, _ = streaming.step(features, present, state)
    again, _ = streaming.step(features, present, state)
    assert torch.equal(first.clip_logits, again.clip_logits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.to_tensors().items())


def test_a_model_that_needs_later_steps_is_refused() -> None:
    with pytest.raises(ModelError, match=r"cannot run step by step; seen 'model\.causal: false'"):
        StreamingModel(causal_model(causal=False))


def test_a_model_that_drops_out_is_refused() -> None:
    with pytest.raises(ModelError, match="evaluation mode"):
        StreamingModel(causal_model().train())


@pytest.mark.parametrize(
    ("features", "present", "words"),
    [
        ({"face": torch.zeros(1, 6)}, {"face": torch.ones(1).bool()}, r"modality face.*a different width; seen 5"),
        ({"fase": torch.zeros(1, 5)}, {"fase": torch.ones(1).bool()}, r"no such modality; seen 'fase'.*face"),
        ({"face": torch.zeros(1, 5)}, {"voice": torch.ones(1).bool()}, r"same modalities"),
        ({}, {}, r"at least one"),
        ({"face": torch.zeros(1, 1, 5)}, {"face": torch.ones(1).bool()}, r"modality face.*\(B, D\).*\(1, 1, 5\)"),
        ({"face": torch.zeros(1, 5)}, {"face": torch.ones(1)}, r"modality face.*booleans.*float32"),
        ({"face": torch.zeros(2, 5)}, {"face": torch.ones(2).bool()}, r"modality face.*streams; seen 2; allowed: 1"),
        ({"face": torch.full((1, 5), torch.nan)}, {"face": torch.ones(1).bool()}, r"modality face: NaN or infinity"),
    ],
    ids=["width", "modality", "names", "none", "shape", "mask", "streams", "nan"],
)
def test_a_step_that_does_not_fit_is_named(features: dict[str, Tensor], present: dict[str, Tensor], words: str) -> None:
    streaming = StreamingModel(causal_model())
    with pytest.raises(ModelError, match=words):
        streaming.step(features, present, streaming.start())


def test_the_state_of_another_model_is_named() -> None:
    streaming = StreamingModel(causal_model())
    wider = StreamingModel(causal_model(attention_window_s=2.0)).start().to_tensors()
    with pytest.raises(
        ModelError, match=r"told\.face\.key_value: .*seen '\(1, 20, 32\) float32'; allowed: \(1, 10, 32\)"
    ):
        streaming.from_tensors(wider)
    lacking = streaming.start().to_tensors()
    del lacking["clip.peak"]
    with pytest.raises(ModelError, match=r"clip\.peak: .*seen 'missing'"):
        streaming.from_tensors(lacking)
