from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.validation.tables import TIME_SLACK_S, first_bad_span


def span(start_s: float, end_s: float) -> dict[str, float]:
    return {"start_s": start_s, "end_s": end_s}


@given(cuts=st.lists(st.floats(0, 10), min_size=2, max_size=12, unique=True))
def test_spans_that_follow_each_other_are_fine_in_any_order(cuts: list[float]) -> None:
    ordered = sorted(cuts)
    spans = [span(start, end) for start, end in pairwise(ordered)]
    assert first_bad_span(spans[::-1], 10.0, may_overlap=False) is None


@pytest.mark.parametrize(
    "bad", [span(-0.1, 1), span(1, 1), span(2, 1), span(0, 9), span(math.nan, 1), span(0, math.nan), span(0, math.inf)]
)
def test_the_first_bad_span_is_named(bad: dict[str, float]) -> None:
    named = first_bad_span([span(0, 1), bad], 3.0, may_overlap=True)
    assert named == f"{bad['start_s']:.3f} to {bad['end_s']:.3f} s of 3.000 s"


def test_a_span_may_run_over_the_end_by_a_little() -> None:
    assert first_bad_span([span(0, 3 + TIME_SLACK_S)], 3.0, may_overlap=False) is None
    assert first_bad_span([span(0, 3.01 + TIME_SLACK_S)], 3.0, may_overlap=False) is not None


def test_words_may_overlap_and_labels_may_not() -> None:
    spans = [span(0, 2), span(1, 3)]
    assert first_bad_span(spans, 3.0, may_overlap=True) is None
    assert first_bad_span(spans, 3.0, may_overlap=False) == "1.000 to 3.000 s overlaps 0.000 to 2.000 s"


def test_without_a_known_duration_only_the_start_and_order_are_judged() -> None:
    assert first_bad_span([span(0, 1e6)], None, may_overlap=False) is None
    assert first_bad_span([span(5, 4)], None, may_overlap=False) == "5.000 to 4.000 s"
