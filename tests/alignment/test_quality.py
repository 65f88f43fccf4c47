from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.alignment.quality import clipping, clock_notes, coverage, ended_early, gate
from components.contracts.config import AlignmentQuality
from components.contracts.errors import MediaError
from components.contracts.records import Quality

GOOD = Quality(
    duration_s=4.0,
    offset_s=0.1,
    drift_s_per_min=0.01,
    frame_rate_hz=25.0,
    frame_interval_cv=0.0,
    coverage={"face": 0.9, "voice": 0.0},
    speech_fraction=None,
    notes=("no sound",),
)
BOUNDS = AlignmentQuality(max_abs_offset_s=1.0, max_abs_drift_s_per_min=0.5, min_coverage_any=0.05)


def test_coverage_is_the_share_of_valid_steps() -> None:
    assert coverage({"voice": np.array([True, False]), "face": np.array([True, True])}) == {"face": 1.0, "voice": 0.5}


def test_a_good_clip_passes() -> None:
    gate(GOOD, BOUNDS, where="tiny/a")
    gate(replace(GOOD, offset_s=-1.0, drift_s_per_min=-0.5), BOUNDS, where="tiny/a")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"offset_s": 1.2}, "offset"),
        ({"offset_s": -1.2}, "offset"),
        ({"drift_s_per_min": -0.7}, "drift"),
        ({"coverage": {"face": 0.04, "voice": 0.0}}, "coverage"),
        ({"coverage": {}}, "coverage"),
    ],
)
def test_a_clip_outside_the_bounds_is_refused_with_its_value(fields: dict, code: str) -> None:
    with pytest.raises(MediaError) as caught:
        gate(replace(GOOD, **fields), BOUNDS, where="tiny/a")
    error = caught.value
    assert error.code == code
    assert error.where == "tiny/a"
    assert error.seen is not None
    assert error.allowed
    assert error.remedy


def test_notes_only_where_a_person_should_know() -> None:
    assert clock_notes(offset_s=0.01, drift_s_per_min=0.0, frame_interval_cv=0.02) == []
    late, drift, varies = clock_notes(offset_s=0.4, drift_s_per_min=-0.1, frame_interval_cv=0.5)
    assert late == "sound starts 0.40 s after the picture"
    assert "-0.10 s a minute" in drift
    assert varies == "the frame rate varies"
    assert clock_notes(offset_s=-0.4, drift_s_per_min=0.0, frame_interval_cv=None) == [
        "sound starts 0.40 s before the picture"
    ]


def test_an_early_end_is_noted() -> None:
    assert ended_early("picture", 2.0, None) == []
    assert ended_early("picture", 3.9, 4.0) == []
    assert ended_early("picture", 2.0, 4.0) == ["picture ended early: 2.00 s of it are missing"]


def test_clipped_sound_is_noted_and_loud_sound_is_not() -> None:
    loud = (30_000 * np.sin(np.arange(16_000) / 9)).astype(np.int16)
    assert clipping(loud) == []
    assert clipping(np.zeros(0, np.int16)) == []
    clipped = np.clip(loud.astype(np.int32) * 3, -32_768, 32_767).astype(np.int16)
    (note,) = clipping(clipped)
    assert note.startswith("the sound is clipped: ")
