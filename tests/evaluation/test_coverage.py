from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.coverage import coverage_figures, curve
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample


def sample(confidence: list[float], right: list[bool]) -> Sample:
    sure = np.array(confidence)
    posterior = np.stack([sure, 1 - sure], axis=-1)
    truth = np.where(right, 0, 1).astype(np.int64)
    return Sample(subjects=[f"p{place % 4}" for place in range(sure.size)], truth=truth, posterior=posterior)


def test_the_surest_are_kept_first_and_equally_sure_ones_together() -> None:
    sure = np.repeat([0.9, 0.8, 0.7, 0.6], 10)
    right = [place % 10 >= wrong for wrong in (0, 1, 3, 6) for place in range(10)]
    made = sample(sure.tolist(), right)
    kept = curve(made)
    assert kept.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert kept.risk == pytest.approx([0.0, 0.05, 4 / 30, 0.25])
    assert kept.area == pytest.approx(0.25 * (0.0 + 0.025 + (0.05 + 4 / 30) / 2 + (4 / 30 + 0.25) / 2))
    found = coverage_figures(made, Bootstrap(draws=200))
    rows = found["surest"]
    assert [row["confidence"] for row in rows.values()] == [0.9, 0.8, 0.7, 0.6]
    assert [row["items"] for row in rows.values()] == [10, 20, 30, 40]
    for row, risk in zip(rows.values(), kept.risk, strict=True):
        wrong = row["wrong"]
        assert wrong["value"] == pytest.approx(risk, abs=1e-6)
        assert wrong["low"] <= wrong["value"] <= wrong["high"]


@pytest.mark.parametrize("items", [1, 7, 8, 31, 1000])
def test_any_number_of_answers_ends_at_the_share_of_all_mistakes(items: int) -> None:
    rng = np.random.default_rng(items)
    confidence = rng.uniform(0.5, 1, items)
    right = rng.random(items) < confidence
    made = sample(confidence.tolist(), right.tolist())
    kept, found = curve(made), coverage_figures(made, Bootstrap(draws=50))
    assert kept.coverage[-1] == 1.0
    assert kept.risk[-1] == pytest.approx(1 - right.mean())
    assert (np.diff(kept.coverage) > 0).all()
    assert kept.coverage.size <= 100
    assert kept.coverage[0] * items >= min(8, items)
    assert found["surest"]["1"]["wrong"]["value"] == pytest.approx(1 - right.mean(), abs=1e-6)
    assert ("0.25" in found["surest"]) is (items >= 31)


def test_confidence_that_says_nothing_keeps_the_risk_and_one_that_says_all_ends_it() -> None:
    right = [True, False] * 20
    assert curve(sample([0.7] * 40, right)).risk == pytest.approx([0.5])
    told = curve(sample([0.9 if hit else 0.6 for hit in right], right))
    assert told.risk == pytest.approx([0.0, 0.5])
