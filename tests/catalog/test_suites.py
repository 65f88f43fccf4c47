"""Every promise about the splits, broken once, through a real Great Expectations context."""

from __future__ import annotations

from typing import Any

import pytest

from components.catalog.clips import Clips, split_summary, splits_of
from components.catalog.splits import SPLITS
from components.catalog.stage import judge_splits
from components.catalog.suites import split_suites
from components.contracts.config import Catalog
from components.validation.checkpoint import Checker, ExpectationOutcome, critical
from tests.catalog.test_catalog import made
from tests.validation.tables import tiny_clips

pytestmark = pytest.mark.integration
CASES = {
    "nothing": (Catalog(), None, set(), set()),
    "a person in two splits": (Catalog(), "subject_id", {"one_split_a_person"}, {"one_split_a_person"}),
    "as the corpus says": (Catalog(use_corpus_splits=True), "subject_id", {"one_split_a_person"}, set()),
    "a text in two splits": (Catalog(), "text_id", {"one_split_a_text"}, set()),
    "texts to be apart": (Catalog(by_text=True), "text_id", {"one_split_a_text"}, {"one_split_a_text"}),
}


def judged(config: Catalog, rows: list[dict[str, Any]]) -> tuple[dict[str, ExpectationOutcome], set[str]]:
    """What does not hold, and which of that is critical."""
    table, description = made(tiny_clips(subjects=8))
    table = table.from_pylist(rows or table.to_pylist(), schema=table.schema)
    summary = split_summary(Clips.of(table), splits_of(table), description["classes"])
    described = {**description, "texts": 1, "splits": summary}
    outcomes = judge_splits(table, described, config, Checker())
    failed = {one.expectation.name: one for outcome in outcomes for one in outcome.failed}
    return failed, {one.expectation.name for _, one in critical(outcomes)}


@pytest.mark.parametrize("case", CASES)
def test_people_and_texts_are_kept_apart(case: str) -> None:
    config, column, failed, stops = CASES[case]
    rows = made(tiny_clips(subjects=8))[0].to_pylist()
    if column is not None:
        one = next(row for row in rows if row["split"] == "train")
        other = next(row for row in rows if row["split"] == "test")
        one[column] = other[column] = "tiny/the same"
    found, critical_ones = judged(config, rows)
    assert (set(found), critical_ones) == (failed, stops)
    for broken in found.values():
        assert broken.failures == (("tiny/the same", "2"),)


def test_every_class_is_learned_calibrated_and_measured() -> None:
    rows = made(tiny_clips(subjects=8))[0].to_pylist()
    others = dict(zip(SPLITS, ("anger", "neutral", "happiness"), strict=True))
    # No anger in train, nothing neutral in calibration, no happiness in test.
    left = [row for row in rows if row["label"] != others[row["split"]]]
    found, critical_ones = judged(Catalog(), left)
    assert set(found) == {"every_class_can_be_learned", "every_class_is_in_calibration", "every_class_is_in_test"}
    assert critical_ones == {"every_class_can_be_learned"}
    assert found["every_class_is_in_test"].failures == (("happiness", "0"),)


def test_every_promise_says_what_to_do() -> None:
    for suite in split_suites(Catalog()):
        for expectation in suite.expectations:
            assert expectation.says
            assert expectation.allowed
            assert not expectation.remedy.endswith(".")
