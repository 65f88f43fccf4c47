from __future__ import annotations

import json

import pytest

from components.contracts.errors import BundleError
from components.inference.profile import RATIOS, SHARES, Outcome, Profile, place_of


def test_a_profile_is_counts_and_survives_its_json() -> None:
    outcomes = [
        Outcome(emotion="anger", confidence=0.7, presence={"face": True}, distances={"face": 1.2}, label="anger"),
        Outcome(emotion=None, confidence=None, presence={"face": False}, contradiction=0.05, label="fear"),
    ]
    profile = Profile.of(outcomes, people=2)
    assert profile.answers == 2
    assert profile.tables == {
        "confidence": {"0.7": 1},
        "contradiction": {"0.1": 1},
        "correct": {"right": 1, "wrong": 1},
        "distance.face": {"1.25": 1},
        "emotion": {"anger": 1, "none": 1},
        "label": {"anger": 1, "fear": 1},
        "presence.face": {"missing": 1, "present": 1},
    }
    assert Profile.from_json(json.loads(json.dumps(profile.to_json())), where="x") == profile
    for wrong in ({}, {**profile.to_json(), "format": 2}, {**profile.to_json(), "tables": {"emotion": 3}}):
        with pytest.raises(BundleError, match="not a profile"):
            Profile.from_json(wrong, where="x")


def test_a_value_belongs_to_the_bin_that_ends_with_it() -> None:
    assert [place_of(value, SHARES) for value in (0.0, 0.1, 0.11, 1.0)] == ["0.1", "0.1", "0.2", "1.0"]
    assert place_of(7.0, RATIOS) == "+Inf"


def test_what_was_counted_since_and_after_a_restart() -> None:
    before = Profile(tables={"emotion": {"anger": 3, "fear": 1}})
    now = Profile(tables={"emotion": {"anger": 5, "fear": 1, "disgust": 1}, "confidence": {"0.5": 2}})
    assert now.since(before).tables == {"emotion": {"anger": 2, "disgust": 1}, "confidence": {"0.5": 2}}
    anew = Profile(tables={"emotion": {"anger": 2, "fear": 1}})
    assert anew.since(before) == anew
