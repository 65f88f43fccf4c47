from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.contracts.config import Model
from components.contracts.errors import ModelError
from components.model.base import ClipFeatures
from components.model.build import build_model
from components.model.files import load_model, save_model
from components.model.model import TemporalModel
from components.model.spec import ModelSpec, UpperSpec
from components.model.upper_layers import STRETCH_STEPS, UpperLayers
from tests.model.toys import toy_spec

FRAMES, WIDTH = 5, 8
UPPER = UpperSpec(
    encoder="toy", base_sha256="0" * 64, width=WIDTH, heads=2, layers=2, learned=1, method="weights", rank=0
)
LORA = replace(UPPER, method="lora", rank=2)


def layers(spec: UpperSpec = UPPER) -> UpperLayers:
    torch.manual_seed(3)
    made = UpperLayers(spec, frames=FRAMES)
    made.standardised.centre.data.normal_()
    return made.eval()


def frames(clips: int, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(clips)
    return torch.randn(clips, steps, FRAMES * WIDTH), torch.ones(clips, steps, dtype=torch.bool)


@pytest.mark.parametrize("spec", [UPPER, LORA], ids=["weights", "lora"])
def test_a_clip_does_not_depend_on_padding_nor_on_what_is_not_valid(spec: UpperSpec) -> None:
    made, (x, mask) = layers(spec), frames(3, 12)
    mask[0, 9:] = False  # shorter
    mask[1, 4:6] = False  # a hole
    mask[2] = False  # nothing
    x[~mask] = torch.nan
    out = made(x, mask)
    assert out.isfinite().all()
    assert not out[~mask].any()
    torch.testing.assert_close(out[:1, :9], made(x[:1, :9], mask[:1, :9]))
    torch.testing.assert_close(out[1:2], made(x[1:2], mask[1:2]))


@pytest.mark.parametrize("clips", [1, 3])
def test_a_batch_without_the_modality(clips: int) -> None:
    model = build_model(spec_with(UPPER)).eval()
    features = {name: torch.randn(clips, 6, width) for name, width in model.spec.modalities.items()}
    masks = {name: torch.full((clips, 6), name != "voice") for name in features}
    without = {name: values for name, values in features.items() if name != "voice"}
    expected = model(without, {name: masks[name] for name in without}).clip_logits
    torch.testing.assert_close(model(features, masks).clip_logits, expected)


def test_only_valid_frames_are_computed_and_each_finds_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    made, (x, mask) = layers(), frames(3, 12)
    mask[0, 2:7] = mask[1, :9] = mask[2, 11:] = False
    packed = made.pooled(x, mask)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    whole = made.pooled(x, mask)
    torch.testing.assert_close(packed[mask], whole[mask])


def test_a_frame_that_is_not_there_does_not_count() -> None:
    made, (x, mask) = layers(), frames(1, 3)
    whole = made.pooled(x, mask)
    x[0, 2, WIDTH:] = 0  # sound ends after the first frame of the last step
    cut = made.pooled(x, mask)
    assert not torch.allclose(whole, cut)
    x_N = x.reshape(1, 15, WIDTH)[:, :11]
    states = [x_N]
    for layer in made.layers:
        states.append(layer(states[-1]))
    frames_ND = torch.stack(states).mean(0)[0]
    torch.testing.assert_close(cut[0, 2], frames_ND[10])
    # The frame on the border of two steps belongs to both in equal parts.
    expected = (0.5 * frames_ND[5] + frames_ND[6:10].sum(0) + 0.5 * frames_ND[10]) / 5
    torch.testing.assert_close(cut[0, 1], expected)


def test_a_long_clip_is_read_in_stretches() -> None:
    made, (x, mask) = layers(), frames(1, STRETCH_STEPS + 7)
    whole = made.pooled(x, mask)
    rest = made.pooled(x[:, STRETCH_STEPS:], mask[:, STRETCH_STEPS:])
    torch.testing.assert_close(whole[:, STRETCH_STEPS:], rest)
    first = made.pooled(x[:, :STRETCH_STEPS], mask[:, :STRETCH_STEPS])
    torch.testing.assert_close(whole[:, : STRETCH_STEPS - 1], first[:, :-1])


def test_lora_starts_where_the_encoder_is_and_only_it_learns() -> None:
    base, made, (x, mask) = layers(), layers(LORA), frames(2, 6)
    made.load_base(base.layers)
    torch.testing.assert_close(made.pooled(x, mask), base.pooled(x, mask))
    learned = {name for name, weight in made.named_parameters() if weight.requires_grad}
    matrices = ("qkv", "out", "up", "down")
    assert learned == {f"layers.1.{name}.lora_{half}.default.weight" for name in matrices for half in "AB"}
    of_last = {name for name, weight in base.named_parameters() if weight.requires_grad}
    assert of_last == {name for name, _ in base.named_parameters() if name.startswith("layers.1.")}


def spec_with(upper: UpperSpec, **model: object) -> ModelSpec:
    plain = toy_spec(clip_head="all", **model)
    return replace(plain, modalities={**plain.modalities, "voice": FRAMES * WIDTH}, upper={"voice": upper})


@pytest.mark.parametrize("upper", [UPPER, LORA], ids=["weights", "lora"])
def test_a_model_with_such_layers_travels_as_safetensors(tmp_path: Path, upper: UpperSpec) -> None:
    spec = spec_with(upper)
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    torch.manual_seed(0)
    model = build_model(spec).eval()
    for weight in model.parameters():
        if not weight.any():
            weight.data.normal_()
    save_model(tmp_path, spec, model.state_dict())
    again = load_model(tmp_path)
    features = {name: torch.randn(2, 7, width) for name, width in spec.modalities.items()}
    masks = {name: torch.ones(2, 7, dtype=torch.bool) for name in features}
    masks["voice"][1] = False
    with torch.inference_mode():
        torch.testing.assert_close(again(features, masks), model(features, masks), rtol=0, atol=0)


def test_what_they_give_is_standardised_before_they_learn() -> None:
    model = build_model(spec_with(UPPER))
    assert isinstance(model, TemporalModel)
    clips = []
    for seed in range(1, 9):
        torch.manual_seed(seed)
        values = {name: torch.randn(20, width).numpy() for name, width in model.spec.modalities.items()}
        clips.append(ClipFeatures(values, {name: torch.ones(20, dtype=torch.bool).numpy() for name in values}))
    model.set_from(clips)
    read = [
        model.read({"voice": torch.from_numpy(clip.features["voice"])[None]}, {"voice": torch.ones(1, 20).bool()})
        for clip in clips
    ]
    rows = torch.cat([features["voice"][0] for features in read])
    assert rows.shape == (160, WIDTH)
    torch.testing.assert_close(rows.mean(0), torch.zeros(WIDTH), atol=1e-3, rtol=0)
    torch.testing.assert_close(rows.std(0, correction=0), torch.ones(WIDTH), atol=1e-2, rtol=0)
    assert model.statistics is not None
    assert model.statistics.by_modality["voice"].width == WIDTH


def test_impossible_layers_are_refused() -> None:
    with pytest.raises(ModelError, match=r"train\.adapt.*seen .*causal: true.*allowed: .*causal: false"):
        replace(spec_with(UPPER), model=Model(causal=True))
    with pytest.raises(ModelError, match="bad frames"):
        replace(spec_with(UPPER), upper={"face": UPPER})
    for wrong in ({"learned": 3}, {"heads": 3}, {"method": "prompt"}, {"rank": 4}):
        with pytest.raises(ModelError, match="impossible layers"):
            replace(UPPER, **wrong)
