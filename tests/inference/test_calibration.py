from __future__ import annotations

import numpy as np
import pytest

from components.contracts.errors import BundleError
from components.evaluation import metrics
from components.inference.calibration import (
    MAX_TEMPERATURE,
    Calibration,
    fit_temperature,
    fit_ways,
    mix,
    with_product,
)
from components.inference.contradiction import Rarity
from components.inference.probabilities import log_softmax, softmax


def sample(temperature: float, items: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true posterior is softmax(logits / temperature)."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(items, 4))
    posterior = softmax(logits, temperature)
    truth = (posterior.cumsum(-1) > rng.random((items, 1))).argmax(-1)
    return logits, truth.astype(np.int64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_true_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*sample(temperature)) == pytest.approx(temperature, rel=0.08)


def test_calibration_lowers_the_error_and_never_changes_an_answer() -> None:
    logits, truth = sample(3.0)
    before, after = softmax(logits), softmax(logits, fit_temperature(logits, truth))
    np.testing.assert_array_equal(before.argmax(-1), after.argmax(-1))
    errors = [float(metrics.ece(metrics.confidence_bins(p, truth, 15))) for p in (before, after)]
    assert errors[1] < 0.03
    assert errors[0] > 0.15
    assert metrics.nll(after, truth) < metrics.nll(before, truth)


def test_unlabelled_items_and_no_item_at_all() -> None:
    logits, truth = sample(2.0)
    noisy = np.concatenate([logits, 50 * np.ones((100, 4))])
    labels = np.concatenate([truth, np.full(100, -100)])
    assert fit_temperature(noisy, labels) == fit_temperature(logits, truth)
    assert fit_temperature(logits, np.full(len(logits), -100)) == 1.0


def test_logits_without_information_stay_within_the_bounds() -> None:
    rng = np.random.default_rng(0)
    found = fit_temperature(20 * rng.normal(size=(200, 4)), rng.integers(0, 4, 200))
    assert 1 < found <= MAX_TEMPERATURE


def test_a_class_that_is_never_possible_does_not_disturb() -> None:
    logits, truth = sample(2.0)
    closed = np.concatenate([logits, np.full((len(logits), 1), -1e4)], axis=1)
    assert fit_temperature(closed, truth) == pytest.approx(fit_temperature(logits, truth), rel=1e-4)
    assert softmax(closed, 0.05)[:, -1].max() == 0


def test_it_survives_json_and_refuses_nonsense() -> None:
    calibration = Calibration(
        step=1.5,
        clip=0.8,
        clip_by_count={1: 2.5, 2: 0.8},
        unimodal={"voice": 2.0},
        unimodal_step={"voice": 1.7},
        rarity=Rarity.fit([0.1, 0.4, 0.3]),
        contradiction_threshold=0.7,
    )
    assert Calibration.from_json(calibration.to_json()) == calibration
    with pytest.raises(BundleError, match="not a calibration"):
        Calibration.from_json({"step": 1.0})
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BundleError, match=r"calibration\.clip: a temperature must be positive"):
            Calibration(clip=bad)


def ways_of(sharp: float, blunt: float, count: int = 400) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two ways of reading clips whose scores hold the truth with these strengths, in noise of their own."""
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=count)
    hit = np.eye(4)[truth]
    return {
        "statistics": (sharp * hit + rng.normal(size=(count, 4))).astype(np.float32),
        "temporal": (blunt * hit + rng.normal(size=(count, 4))).astype(np.float32),
    }, truth


def test_the_way_that_knows_held_out_people_counts_and_two_that_do_alike_share() -> None:
    ways, truth = ways_of(3.0, 0.0)
    assert fit_ways(ways, truth)["statistics"] >= 0.9
    ways, truth = ways_of(0.0, 3.0)
    assert fit_ways(ways, truth)["temporal"] >= 0.9
    ways, truth = ways_of(2.0, 2.0)
    weights = fit_ways(ways, truth)
    assert 0.3 <= weights["statistics"] <= 0.7
    assert sum(weights.values()) == pytest.approx(1.0)
    both = float((mix(ways, weights).argmax(-1) == truth).mean())
    assert both > max(float((scores.argmax(-1) == truth).mean()) for scores in ways.values())


def test_without_two_ways_or_a_label_nothing_is_weighed() -> None:
    ways, truth = ways_of(1.0, 1.0, count=5)
    assert fit_ways({}, truth) == {}
    assert fit_ways({"temporal": ways["temporal"]}, truth) == {}
    assert fit_ways(ways, np.full(5, -100)) == {}


def test_the_product_is_a_way_of_its_own_where_a_model_has_several() -> None:
    ways = {"statistics": np.zeros((2, 3)), "temporal": np.zeros((2, 3))}
    unimodal = {"face": np.array([[2.0, 0.0, 0.0]] * 2), "voice": np.array([[0.0, 4.0, 0.0], [0.0, 0.0, 0.0]])}
    found = with_product(ways, unimodal, {"voice": 2.0})
    expected = log_softmax(unimodal["face"]) + log_softmax(unimodal["voice"] / 2)
    assert np.allclose(found["product"], expected)
    # Even scores, those of a modality that is not there, change nothing but a constant.
    assert np.allclose(softmax(found["product"])[1], softmax(unimodal["face"])[1])
    assert set(with_product({"temporal": np.zeros((1, 3))}, unimodal, {})) == {"temporal"}
    assert not with_product(ways, {}, {})["product"].any()


def test_a_mixture_is_of_log_probabilities_and_keeps_closed_classes_closed() -> None:
    ways = {"a": np.array([[0.0, 2.0, -1e4]]), "b": np.array([[1.0, 0.0, -1e4]])}
    mixed = mix(ways, {"a": 0.25, "b": 0.75})
    expected = 0.25 * log_softmax(ways["a"]) + 0.75 * log_softmax(ways["b"])
    assert np.allclose(mixed, expected)
    assert softmax(mixed)[0, 2] == 0.0
