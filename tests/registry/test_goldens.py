from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.contracts.errors import BundleError
from components.inference.calibration import Calibration
from components.inference.scoring import Features, Masks, Scored, Scorer
from components.model.build import build_model
from components.model.spec import ModelSpec
from components.registry.goldens import (
    CLIP,
    CONFLICT,
    GOLDEN_JSON,
    GOLDEN_TENSORS,
    LATER,
    MAX_GOLDENS,
    MOOD,
    STEP_MOOD,
    Golden,
    load_goldens,
    save_goldens,
    worst_deviation,
)
from tests.registry.made import CLASSES, SMALL, WIDTHS, make_clip

SPEC = ModelSpec(modalities=WIDTHS, classes=CLASSES, model=SMALL)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    torch.manual_seed(0)
    return Scorer(build_model(SPEC).eval(), Calibration(step=1.3, clip=0.9))


def recorded(scorer: Scorer, seed: int) -> Golden:
    clip = make_clip(seed)
    features = {name: encoded.values for name, encoded in clip.items()}
    masks = {name: encoded.valid for name, encoded in clip.items()}
    return Golden.record(f"tiny/{seed}", features, masks, scorer)


def test_saved_goldens_are_loaded_and_hold(scorer: Scorer, tmp_path: Path) -> None:
    goldens = [recorded(scorer, seed) for seed in range(3)]
    save_goldens(tmp_path, goldens)
    loaded = load_goldens(tmp_path, SPEC)
    assert [golden.name for golden in loaded] == ["tiny/0", "tiny/1", "tiny/2"]
    for golden, before in zip(loaded, goldens, strict=True):
        assert golden.expected.keys() == before.expected.keys()
        for name, values in before.features.items():
            np.testing.assert_array_equal(golden.features[name], values)
            np.testing.assert_array_equal(golden.masks[name], before.masks[name])
        assert worst_deviation(golden, scorer)[0] == 0.0


def test_equal_examples_give_equal_files(scorer: Scorer, tmp_path: Path) -> None:
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        save_goldens(tmp_path / place, [recorded(scorer, 1)])
    for name in (GOLDEN_JSON, GOLDEN_TENSORS):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_deviation_is_named_with_its_size(scorer: Scorer) -> None:
    golden = recorded(scorer, 1)
    shifted = golden.expected[CLIP].copy()
    shifted[0] += 0.25
    moved = replace(golden, expected={**golden.expected, CLIP: shifted})
    size, output = worst_deviation(moved, scorer)
    assert (output, size) == (CLIP, pytest.approx(0.25, abs=1e-6))
    not_a_number = replace(golden, expected={**golden.expected, CLIP: np.full_like(shifted, np.nan)})
    assert worst_deviation(not_a_number, scorer) == (float("inf"), CLIP)


def test_an_output_that_is_missing_or_of_a_different_shape_never_holds(scorer: Scorer) -> None:
    golden = recorded(scorer, 1)
    without = {name: values for name, values in golden.expected.items() if name != CLIP}
    assert worst_deviation(replace(golden, expected=without), scorer) == (float("inf"), CLIP)
    shorter = {**golden.expected, CLIP: golden.expected[CLIP][:-1]}
    assert worst_deviation(replace(golden, expected=shorter), scorer) == (float("inf"), CLIP)
    more = {**golden.expected, "unimodal.smell": golden.expected[CLIP]}
    assert worst_deviation(replace(golden, expected=more), scorer) == (float("inf"), "unimodal.smell")


def test_examples_of_a_different_model_are_refused(scorer: Scorer, tmp_path: Path) -> None:
    save_goldens(tmp_path, [recorded(scorer, 1)])
    wider = ModelSpec(modalities={**WIDTHS, "face": 7}, classes=CLASSES, model=SMALL)
    with pytest.raises(BundleError, match="does not fit the model") as caught:
        load_goldens(tmp_path, wider)
    assert caught.value.where == "tiny/1"
    assert caught.value.seen == WIDTHS


@pytest.mark.parametrize("damaged", [GOLDEN_JSON, GOLDEN_TENSORS])
def test_a_file_that_is_missing_or_damaged_is_refused(damaged: str, scorer: Scorer, tmp_path: Path) -> None:
    save_goldens(tmp_path, [recorded(scorer, 1)])
    whole = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="cannot read the golden examples"):
        load_goldens(tmp_path, SPEC)
    (tmp_path / damaged).unlink()
    with pytest.raises(BundleError, match="cannot read the golden examples"):
        load_goldens(tmp_path, SPEC)


def test_a_list_of_any_length_costs_a_bounded_number(scorer: Scorer, tmp_path: Path) -> None:
    save_goldens(tmp_path, [recorded(scorer, 1)])
    [entry] = json.loads((tmp_path / GOLDEN_JSON).read_text())["goldens"]
    (tmp_path / GOLDEN_JSON).write_text(json.dumps({"goldens": [entry] * (MAX_GOLDENS + 9)}))
    with pytest.raises(BundleError, match="features"):  # the second has no tensors
        load_goldens(tmp_path, SPEC)
    save_goldens(tmp_path, [recorded(scorer, 1)] * (MAX_GOLDENS + 9))
    assert len(load_goldens(tmp_path, SPEC)) == MAX_GOLDENS


class Moody(Scorer):
    """Gives valence and arousal too, as a model with that head does."""

    mood = (0.2, -0.4)

    def score(self, features: Features, masks: Masks) -> Scored:
        steps = len(next(iter(masks.values())))
        mood = np.array(self.mood, np.float32)
        return replace(
            super().score(features, masks), valence_arousal=mood, step_valence_arousal=np.tile(mood, (steps, 1))
        )


@pytest.mark.parametrize("head", [MOOD, STEP_MOOD, CONFLICT])
def test_every_head_counts(head: str, scorer: Scorer) -> None:
    moody = Moody(scorer.model, scorer.calibration)
    golden = recorded(moody, 1)
    assert worst_deviation(golden, moody)[0] == 0.0
    shifted = replace(golden, expected={**golden.expected, head: golden.expected[head] + np.float32(0.25)})
    size, output = worst_deviation(shifted, moody)
    assert (output, size) == (head, pytest.approx(0.25, abs=1e-6))


@pytest.mark.parametrize("mood", [(np.nan, 0.0), (0.0, np.inf), (0.0, 1.5)])
def test_mood_that_is_not_a_number_in_its_range_never_holds(mood: tuple[float, float], scorer: Scorer) -> None:
    moody = Moody(scorer.model, scorer.calibration)
    golden = recorded(moody, 1)
    moody.mood = mood
    assert worst_deviation(golden, moody)[0] >= 1.0
    # Also against a bundle of before, whose examples lack these heads.
    before = replace(golden, expected={name: row for name, row in golden.expected.items() if name not in LATER})
    assert worst_deviation(before, moody) == (float("inf"), STEP_MOOD)
    moody.mood = Moody.mood
    assert worst_deviation(before, moody)[0] == 0.0
