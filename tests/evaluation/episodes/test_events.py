from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.evaluation.episodes.events import (
    ClipEvents,
    EventRows,
    EventSums,
    clip_events,
    event_scores,
    f1_difference,
    match,
    mean_f1,
    overlap,
    true_episodes,
)
from components.evaluation.intervals import Bootstrap
from components.inference.episodes import Episode
from tests.evaluation.made import CLASSES, make_case


def episode(onset_s: float, offset_s: float, emotion: str = "anger", kind: str = "sustained") -> Episode:
    return Episode(onset_s=onset_s, offset_s=offset_s, emotion=emotion, intensity=1.0, kind=kind)  # type: ignore[arg-type]


def sums(clips: list[ClipEvents]) -> EventSums:
    rows = EventRows()
    for clip in clips:
        rows.append(clip)
    return rows.sums()


def flash_case():
    labels = np.zeros(30, dtype=np.int64)
    labels[12:17] = 1
    return make_case("flash", "p1", labels, seed=0)


def test_the_truth_as_episodes() -> None:
    found = true_episodes(flash_case(), CLASSES)
    assert [(e.emotion, e.onset_s, e.offset_s, e.kind) for e in found] == [
        ("neutral", 0.0, 1.2, "sustained"),
        ("anger", 1.2, 1.7, "flash"),
        ("neutral", 1.7, 3.0, "sustained"),
    ]


def test_unlabelled_steps_do_not_break_a_run() -> None:
    case = flash_case()
    labels = np.full(30, 2, dtype=np.int64)
    labels[[0, 10, 11, 29]] = -100
    found = true_episodes(replace(case, step_labels=labels), CLASSES)
    assert [(e.onset_s, e.offset_s) for e in found] == [(0.1, 2.9)]
    assert true_episodes(replace(case, step_labels=np.full(30, -100)), CLASSES) == []


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(episode(0, 2), episode(1, 3)) == pytest.approx(1 / 3)
    assert overlap(episode(0, 1), episode(1, 2)) == 0


def test_each_episode_is_matched_once_and_the_best_first() -> None:
    truth = [episode(0, 1), episode(1, 2)]
    found = [episode(0, 2), episode(1.0, 2.0)]
    assert match(truth, found) == [(1, 1), (0, 0)]
    assert match(truth, [episode(0, 1, "fear")]) == []


def test_a_perfect_answer_and_no_answer() -> None:
    case = flash_case()
    truth = true_episodes(case, CLASSES)
    perfect = event_scores(sums([clip_events(case, truth, truth)]), bootstrap=Bootstrap(draws=10))
    assert perfect["flash"]["recall"]["value"] == perfect["transition"]["precision"]["value"] == 1
    assert perfect["onset_latency_s"]["value"] == 0
    assert perfect["flips_per_minute"] == perfect["true_flips_per_minute"]
    assert perfect["flips_per_minute"]["value"] == pytest.approx(2 / 3 * 60)
    assert perfect["mean_f1"]["value"] == 1
    calm = clip_events(case, truth, [episode(0, 3, "neutral")])
    none = event_scores(sums([calm]), bootstrap=Bootstrap(draws=10))
    assert none["flash"]["recall"]["value"] == 0
    assert "precision" not in none["flash"]
    assert mean_f1(sums([clip_events(case, truth, truth)])) == 1
    assert mean_f1(sums([calm])) < 0.4


def test_a_late_onset_is_late() -> None:
    case = flash_case()
    truth = true_episodes(case, CLASSES)
    late = [episode(0, 1.4, "neutral"), episode(1.4, 1.9, "anger", "flash"), episode(1.9, 3.0, "neutral")]
    events = clip_events(case, truth, late)
    assert events.latencies_s == pytest.approx((0.2, 0.2))
    assert events.counts["transition_true_matched"] == 2


def test_a_transition_too_far_off_or_of_other_emotions_does_not_count() -> None:
    labels = np.zeros(40, dtype=np.int64)
    labels[20:] = 1
    case = make_case("change", "p1", labels, seed=0)
    truth = true_episodes(case, CLASSES)
    far = [episode(0, 2.6, "neutral"), episode(2.6, 4, "anger")]
    other = [episode(0, 2, "neutral"), episode(2, 4, "sadness")]
    near = [episode(0, 2.5, "neutral"), episode(2.5, 4, "anger")]
    assert [clip_events(case, truth, found).counts["transition_true_matched"] for found in (far, other, near)] == [
        0,
        0,
        1,
    ]


def test_figures_have_intervals_by_person_and_differences_are_paired() -> None:
    truth = true_episodes(flash_case(), CLASSES)
    missed = [episode(0, 3, "neutral")]
    late = [episode(0, 1.4, "neutral"), episode(1.4, 1.9, "anger", "flash"), episode(1.9, 3.0, "neutral")]
    people = [replace(flash_case(), subject_id=f"p{person}") for person in range(6)]
    good = sums([clip_events(case, truth, truth if person % 2 else late) for person, case in enumerate(people)])
    poor = sums([clip_events(case, truth, missed) for case in people])
    bootstrap = Bootstrap(draws=200)
    scores = event_scores(good, bootstrap=bootstrap)
    assert scores["onset_latency_s"]["low"] == 0
    assert scores["onset_latency_s"]["high"] == pytest.approx(0.2)
    gain = f1_difference(good, poor, bootstrap=bootstrap)
    assert gain.value == pytest.approx(mean_f1(good) - mean_f1(poor))
    # Everybody gains the same, so the paired difference is sure.
    assert gain.low == pytest.approx(gain.value) == gain.high
    nothing = sums([clip_events(case, truth, []) for case in people])
    assert event_scores(nothing, bootstrap=bootstrap)["onset_latency_s"]["value"] is None
    assert mean_f1(sums([])) == 0.0
