from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from components.evaluation.coverage import coverage_figures
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample
from components.evaluation.pages import plots
from tests.evaluation.test_evaluate import done

CLASSES = ("neutral", "anger", "happiness", "sadness")
PNG = b"\x89PNG\r\n\x1a\n"
CLIPS = 60


def sample(seed: int = 0, *, sure: float = 3.0) -> Sample:
    """Answers that are right more often than not; `sure` is how far the right class stands out."""
    rng = np.random.default_rng(seed)
    truth = np.arange(CLIPS) % len(CLASSES)
    logits = rng.normal(size=(CLIPS, len(CLASSES)))
    logits[np.arange(CLIPS), truth] += sure * rng.random(CLIPS)
    posterior = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return Sample(subjects=[f"p{k % 5}" for k in range(CLIPS)], truth=truth, posterior=posterior)


def contradiction() -> bytes:
    return plots.contradiction(np.linspace(0, 1, CLIPS), np.arange(CLIPS) % 3 == 0, 0.95)


PICTURES: dict[str, Callable[[], bytes | None]] = {
    "reliability": lambda: plots.reliability(sample(), sample(sure=6.0), bins=5, level="clip"),
    "confusion": lambda: plots.confusion(sample(), CLASSES),
    "per_class": lambda: plots.per_class(done().metrics["per_class"], CLASSES, level="clip"),
    "subsets": lambda: plots.subsets(done().table, level="clip"),
    "risk_coverage": lambda: plots.risk_coverage(
        sample(), coverage_figures(sample(), Bootstrap(draws=50)), level="clip"
    ),
    "contradiction": contradiction,
    "slices": lambda: plots.slices(done().metrics["slices"]),
}


def pixels(picture: bytes | None) -> np.ndarray:
    assert picture is not None
    assert picture.startswith(PNG)
    assert b"Software" not in picture
    shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    return shown


@pytest.mark.parametrize("name", PICTURES)
def test_equal_figures_give_equal_bytes_of_a_picture_that_shows_something(name: str) -> None:
    first = PICTURES[name]()
    shown = pixels(first)
    assert PICTURES[name]() == first
    assert min(shown.shape[:2]) > 100
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 8
    assert (shown[0, 0] == 255).all()


def test_the_confusion_matrix_has_a_row_for_each_class_that_occurs() -> None:
    two = Sample(subjects=["a"] * 4, truth=np.array([0, 0, 1, 1]), posterior=np.eye(4)[[0, 1, 1, 1]])
    assert pixels(plots.confusion(two, CLASSES)).shape[0] < pixels(plots.confusion(sample(), CLASSES)).shape[0]


def test_without_a_group_there_is_no_picture_of_groups() -> None:
    assert plots.slices({}) is None


def test_contradictions_are_drawn_where_all_or_none_were_planted() -> None:
    for planted in (np.zeros(CLIPS, bool), np.ones(CLIPS, bool)):
        pixels(plots.contradiction(np.linspace(0, 1, CLIPS), planted, 0.95))


def test_drawing_leaves_matplotlib_s_settings_as_they_were() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    PICTURES["confusion"]()
    assert dict(mpl.rcParams) == before


def test_wilson_s_interval_is_the_published_one() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    hits, count = np.array([81.0, 15.0, 0.0, 1.0]), np.array([263.0, 148.0, 20.0, 29.0])
    low, high = plots._wilson(hits, count)
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0, 0.0061], atol=1e-4)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=1e-4)
