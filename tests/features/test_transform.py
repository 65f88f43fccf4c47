from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.contracts.errors import BundleError, DataError
from components.features.base import Encoded
from components.features.transform import CLIP, Transform


def clip(seed: int, steps: int = 30, width: int = 4, shift: float = 5.0) -> Encoded:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((steps, width)) * [1, 10, 0.1, 3] + shift).astype(np.float32)
    return Encoded(values, rng.random(steps) > 0.3)


def fitted() -> Transform:
    return Transform.fit(({"voice": clip(seed)} for seed in range(8)), {"voice": 4, "physio": 7})


def test_training_steps_are_standardised() -> None:
    transform = fitted()
    rows = np.concatenate(
        [transform.apply({"voice": clip(seed)}, 30)[0]["voice"][clip(seed).valid] for seed in range(8)]
    )
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_without_standardising_values_stay_as_the_encoder_gives_them(tmp_path: Path) -> None:
    item = clip(3)
    item.values[np.flatnonzero(item.valid)[0], 0] = 1e4
    transform = Transform.fit([{"voice": item}], {"voice": 4}, standardise=False)
    transform.save(tmp_path)
    for one in (transform, Transform.load(tmp_path)):
        features, masks = one.apply({"voice": item}, 30)
        np.testing.assert_array_equal(features["voice"][item.valid], item.values[item.valid])
        assert not features["voice"][~item.valid].any()
        np.testing.assert_array_equal(masks["voice"], item.valid)


def test_the_values_of_a_modality_that_layers_read_are_left_alone(tmp_path: Path) -> None:
    clips = [{"voice": clip(seed), "face": clip(seed + 9)} for seed in range(8)]
    of_datasets = {"a": clips[:4], "b": clips[4:]}
    plain = Transform.fit(clips, {"voice": 4, "face": 4}, datasets=of_datasets)
    raw = Transform.fit(clips, {"voice": 4, "face": 4}, datasets=of_datasets, raw=["voice", "text"])
    raw.save(tmp_path)
    item, expected = clips[3], plain.apply(clips[3], 30)
    for one in (raw, Transform.load(tmp_path)):
        assert one.raw == {"voice"}
        for own in (one, one.of_dataset("b"), one.adapted({}), one.only(["voice", "face"])):
            features, masks = own.apply(item, 30)
            np.testing.assert_array_equal(features["voice"][item["voice"].valid], item["voice"].values[masks["voice"]])
        np.testing.assert_array_equal(one.apply(item, 30)[0]["face"], expected[0]["face"])
        assert one.only(["face"]).raw == frozenset()


def test_a_part_of_a_transform_keeps_what_it_does() -> None:
    both = Transform.fit([{"voice": clip(0), "face": clip(1)}], {"voice": 4, "face": 4}, standardise=False)
    part = both.only(["face"])
    assert part.widths == {"face": 4}
    assert not part.standardise


def test_moments_equal_those_of_all_rows_at_once() -> None:
    rows = np.concatenate([clip(seed).values[clip(seed).valid] for seed in range(8)]).astype(np.float64)
    found = fitted().modalities["voice"]
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, rows.std(axis=0), rtol=1e-12)
    assert found.steps == len(rows)


def test_accumulation_is_exact_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    clips = [Encoded((1e4 + rng.standard_normal((50, 1))).astype(np.float32), np.ones(50, bool)) for _ in range(50)]
    found = Transform.fit(({"voice": item} for item in clips), {"voice": 1}).modalities["voice"]
    rows = np.concatenate([item.values for item in clips]).astype(np.float64)
    np.testing.assert_allclose(found.std, rows.std(axis=0), rtol=1e-9)


def test_a_modality_never_seen_is_not_in_it() -> None:
    transform = fitted()
    assert transform.widths == {"voice": 4}
    features, masks = transform.apply(
        {"voice": clip(0), "physio": Encoded(np.ones((30, 7), np.float32), np.ones(30, bool))}, 30
    )
    assert set(features) == set(masks) == {"voice"}


def test_an_absent_modality_is_masked_zeros() -> None:
    features, masks = fitted().apply({}, 12)
    assert features["voice"].shape == (12, 4)
    assert not features["voice"].any()
    assert masks["voice"].shape == (12,)
    assert not masks["voice"].any()


def test_invalid_and_non_finite_steps_are_masked() -> None:
    item = clip(1)
    values = item.values.copy()
    values[3, 0], values[4, 1] = np.nan, np.inf
    valid = np.ones(30, bool)
    valid[7] = False
    features, masks = fitted().apply({"voice": Encoded(values, valid)}, 30)
    assert np.nonzero(~masks["voice"])[0].tolist() == [3, 4, 7]
    assert not features["voice"][[3, 4, 7]].any()
    assert np.isfinite(features["voice"]).all()


def test_non_finite_steps_do_not_spoil_the_fit() -> None:
    broken = Encoded(np.full((5, 4), np.nan, np.float32), np.ones(5, bool))
    clips = [{"voice": clip(seed)} for seed in range(8)]
    found = Transform.fit([*clips, {"voice": broken}], {"voice": 4}).modalities["voice"]
    np.testing.assert_array_equal(found.mean, fitted().modalities["voice"].mean)


def test_a_constant_feature_becomes_zero() -> None:
    values = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    values[:, 1] = 1234.5678
    transform = Transform.fit([{"voice": Encoded(values, np.ones(20, bool))}], {"voice": 3})
    assert transform.modalities["voice"].std[1] == 1.0
    features, _ = transform.apply({"voice": Encoded(values, np.ones(20, bool))}, 20)
    np.testing.assert_allclose(features["voice"][:, 1], 0, atol=1e-6)


def test_a_value_far_outside_training_is_bounded() -> None:
    item = Encoded(np.full((2, 4), 1e20, np.float32), np.ones(2, bool))
    features, masks = fitted().apply({"voice": item}, 2)
    assert masks["voice"].all()
    assert features["voice"].max() == CLIP


def test_saved_and_loaded_it_gives_the_same_bits(tmp_path: Path) -> None:
    transform = fitted()
    transform.save(tmp_path)
    loaded = Transform.load(tmp_path)
    for one, other in zip(transform.apply({"voice": clip(3)}, 30), loaded.apply({"voice": clip(3)}, 30), strict=True):
        np.testing.assert_array_equal(one["voice"], other["voice"])
    assert loaded.modalities["voice"].steps == transform.modalities["voice"].steps
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["transform.json", "transform.safetensors"]
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    loaded.save(tmp_path)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


def test_damage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot read the transform"):
        Transform.load(tmp_path)
    fitted().save(tmp_path)
    described = json.loads((tmp_path / "transform.json").read_text())
    described["modalities"][0]["width"] = 5
    (tmp_path / "transform.json").write_text(json.dumps(described))
    with pytest.raises(BundleError, match="disagree"):
        Transform.load(tmp_path)
    (tmp_path / "transform.json").write_text(json.dumps({**described, "format": 99}))
    with pytest.raises(BundleError, match="seen 99"):
        Transform.load(tmp_path)


def test_misfits_are_named() -> None:
    with pytest.raises(DataError, match="a different width; seen 3; allowed: 4"):
        fitted().apply({"voice": Encoded(np.zeros((2, 3), np.float32), np.ones(2, bool))}, 2)
    with pytest.raises(DataError, match="number of steps differs; seen 30; allowed: 31"):
        fitted().apply({"voice": clip(0)}, 31)
    with pytest.raises(DataError, match="unknown modality"):
        Transform.fit([{"smell": clip(0)}], {"voice": 4})
    with pytest.raises(DataError, match="no valid step"):
        Transform.fit([], {"voice": 4})
