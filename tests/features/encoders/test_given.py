from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from components.contracts.config import Features
from components.contracts.errors import ConfigError, DataError
from components.features.encoders.given import Given, is_given
from components.features.registry import create
from tests.builders import make_aligned_clip


def test_what_a_clip_brings_is_passed_on_with_its_mask() -> None:
    values = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    mask = np.arange(20) >= 4
    clip = make_aligned_clip(given={"gaze": values}, masks={"gaze": mask})
    [encoded] = Given("gaze", 5).encode([clip])
    assert np.array_equal(encoded.valid, mask)
    assert np.array_equal(encoded.values[4:], values[4:])
    assert not encoded.values[:4].any()  # equal content, equal bytes


def test_a_clip_that_brings_nothing_does_not_have_the_modality() -> None:
    [encoded] = Given("face", 5).encode([make_aligned_clip()])  # its media has a face
    assert encoded.values.shape == (20, 5)
    assert not encoded.valid.any()


def test_another_width_is_refused() -> None:
    clip = make_aligned_clip("x", given={"gaze": np.zeros((20, 4), np.float32)})
    with pytest.raises(DataError, match=r"tiny/x: gaze: .*a different width; seen 4; allowed: 5"):
        Given("gaze", 5).encode([clip])


def test_the_spec_says_all_there_is_to_know() -> None:
    encoder = Given("gaze", 35)
    again = create(encoder.name, "gaze", "cpu")
    assert (again.modality, again.name, again.width) == ("gaze", "given:35", 35)
    assert again.fingerprint == encoder.fingerprint
    others = {Given("gaze", 36).fingerprint, Given("pose", 35).fingerprint}
    assert len(others | {encoder.fingerprint}) == 3


def test_specs_are_told_apart() -> None:
    assert is_given("given:35")
    assert not any(is_given(spec) for spec in ("fer", "transformers:given/model", "givens"))


@pytest.mark.parametrize("spec", ["given", "given:", "given:0", "given:-3", "given:wide"])
def test_a_width_must_be_one(spec: str) -> None:
    with pytest.raises(ConfigError, match="given:<width>"):
        create(spec, "gaze", "cpu")


@pytest.mark.parametrize("entry", [{"gaze": "fer"}, {"face": "given:35"}])
def test_the_configuration_names_encoders_of_media_only(entry: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="ready-made need no entry"):
        Features(encoders=entry)
