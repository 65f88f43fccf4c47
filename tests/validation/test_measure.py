from __future__ import annotations

from pathlib import Path

import numpy as np

from components.features.base import Encoded
from components.features.store import FeatureStore
from components.validation.measure import measure, measure_store, moments_of


def encoded(values: list[list[float]], valid: list[bool]) -> Encoded:
    return Encoded(np.array(values, dtype=np.float32), np.array(valid))


def test_only_valid_steps_count() -> None:
    figures = measure(encoded([[1, 2], [np.nan, np.inf], [3, 4]], [True, False, True]))
    assert (figures.num_steps, figures.width, figures.num_values) == (3, 2, 4)
    assert (figures.not_finite, figures.low, figures.high) == (0, 1.0, 4.0)
    assert not figures.constant


def test_what_is_not_finite_is_counted_and_not_called_constant() -> None:
    figures = measure(encoded([[np.nan, 1], [1, 1]], [True, True]))
    assert figures.not_finite == 1
    assert not figures.constant


def test_one_number_throughout_is_constant_but_a_single_number_is_not() -> None:
    assert measure(encoded([[0, 0], [0, 0]], [True, True])).constant
    assert not measure(encoded([[5]], [True])).constant
    assert not measure(encoded([[5, 5]], [False])).constant


def test_a_store_is_measured_key_by_key_and_missing_keys_are_left_out(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    rng = np.random.default_rng(0)
    items = {
        f"{number:064x}": Encoded(rng.standard_normal((2, 3)).astype(np.float32), np.ones(2, bool))
        for number in range(150)
    }
    store.write("face", items)
    found = measure_store(store, {"face": [*items, "nowhere"], "voice": ["nowhere"]})
    assert found["face"] == {key: measure(item) for key, item in items.items()}
    assert found["voice"] == {}


def test_moments_are_those_of_all_valid_finite_steps_at_once(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    rng = np.random.default_rng(0)
    items = {
        f"{number:064x}": Encoded((1000 + rng.standard_normal((5, 3))).astype(np.float32), rng.random(5) < 0.8)
        for number in range(150)
    }
    store.write("face", items)
    wanted = sorted(items)[:130]
    steps = np.concatenate([items[key].values[items[key].valid] for key in wanted]).astype(np.float64)
    found = moments_of(store, "face", [*wanted, "nowhere"])
    assert found is not None
    np.testing.assert_allclose(found.mean, steps.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, steps.std(axis=0), rtol=1e-9)
    assert moments_of(store, "face", ["nowhere"]) is None
