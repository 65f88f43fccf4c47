"""What an evaluation found beside an earlier version and between its splits, in words, from its figures as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def comparison_in_words(figures: Mapping[str, Any]) -> str:
    """The comparison in one or two sentences, for a card and a terminal; empty where none was made."""
    compared = figures.get("compared")
    if not compared:
        return ""
    name = compared["name"]
    if "why_not" in compared:
        return f"Not compared with {name}: {compared['why_not']}."
    gain, before, own = compared["gain"]["macro_f1"], compared["earlier"]["macro_f1"], compared["own"]["macro_f1"]
    between = "" if gain["low"] is None else f" [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    text = (
        f"Beside {name}, on {compared['items']} {compared['level']}s of {compared['subjects']} test people and the "
        f"{len(compared['classes'])} classes of both: macro-F1 {own['value']:.3f} against {before['value']:.3f}, a "
        f"difference of {gain['value']:+.3f}{between}."
    )
    return text + overlap_in_words(compared)


def split_in_words(figures: Mapping[str, Any]) -> str:
    """That the calibration split is far easier than the test split; empty where it is not."""
    split = figures.get("calibration_split")
    if not split or not split["far_easier"]:
        return ""
    easier, level = split["minus_test"], figures["level"]
    return (
        f"The calibration split is far easier than the test split: accuracy {split['accuracy']['value']:.2f} against "
        f"{figures[level]['accuracy']['value']:.2f}, a difference of {easier['value']:.2f} [{easier['low']:.2f}, "
        f"{easier['high']:.2f}]. What was fitted on it does not hold for the test split: confidences are too high, and "
        "the weights of the ways of reading a clip may be wrong. Look for people, recordings or sentences that it "
        "shares with the training split; published splits are dealt anew with catalog.use_corpus_splits: false."
    )


def overlap_in_words(compared: Mapping[str, Any]) -> str:
    """The warning that an earlier version may have learned from test people; empty where none is of its corpora."""
    people = compared["test_people_of_its_corpora"]
    if not people:
        return ""
    listed = ", ".join(f"{count} of {name}" for name, count in people.items())
    return (
        f" The version {compared['name']} may have learned from people of the test split, so figures may be too good: "
        f"{listed} are in a corpus that it was trained on."
    )
