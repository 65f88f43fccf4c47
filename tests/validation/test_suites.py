from __future__ import annotations

import pytest

from components.contracts.config import AlignmentQuality, Validation
from components.validation import suites
from components.validation.expectation import Suite

ALL = (
    suites.structure_suite(),
    suites.clip_suite(),
    suites.alignment_suite(AlignmentQuality(), Validation()),
    suites.feature_suite(),
    suites.encoder_suite(),
    suites.dataset_suite(Validation()),
    suites.accepted_suite(Validation()),
    suites.class_suite(Validation()),
)


@pytest.mark.parametrize("suite", ALL, ids=lambda suite: suite.name)
def test_every_expectation_can_be_told_apart_and_tells_what_to_do(suite: Suite) -> None:
    names = [expectation.name for expectation in suite.expectations]
    assert len(set(names)) == len(names)
    for expectation in suite.expectations:
        assert expectation.says
        assert expectation.allowed
        assert expectation.remedy
        assert not expectation.remedy.endswith(".")


def test_rows_are_set_aside_only_by_suites_whose_rows_are_clips() -> None:
    for suite in ALL:
        if any(expectation.level == "row" for expectation in suite.expectations):
            assert suite.key == "clip_id"


def test_the_bounds_come_from_the_configuration() -> None:
    suite = suites.alignment_suite(AlignmentQuality(max_abs_offset_s=0.25), Validation(min_speech_fraction=0.5))
    by_name = {expectation.name: expectation.arguments for expectation in suite.expectations}
    assert by_name["offset_s_in_range"] == {"column": "offset_s", "min_value": -0.25, "max_value": 0.25}
    assert by_name["speech_fraction_in_range"]["min_value"] == 0.5
