from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.evaluation.episodes.decoders import (
    LAG_S,
    episode_figures,
    events_of,
    fit_smoother,
    fit_thresholds,
    labelled,
)
from components.evaluation.episodes.events import EventRows, mean_f1
from components.evaluation.episodes.thresholds import MostProbable, Thresholds
from components.evaluation.intervals import Bootstrap
from components.inference.durations import Durations
from components.inference.episodes import Decoder
from components.inference.semi_markov import Smoother
from tests.evaluation.made import CLASSES, make_case


def clips(people: int = 4, *, sure: float = 1.2) -> list:
    """Moods with a flash each, and posteriors that err on single steps and lean to another class for a while."""
    cases, posteriors = [], []
    for person in range(people):
        for clip in range(4):
            rng = np.random.default_rng([person, clip])
            mood = int(rng.integers(4))
            labels = np.full(50, mood)
            labels[20:25] = (mood + 1) % 4
            logits = rng.normal(0, 1.0, (50, 4))
            logits[np.arange(50), labels] += 2 * sure
            cases.append(make_case(f"{person}-{clip}", f"p{person}", labels, seed=0))
            posteriors.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    return [labelled(case, posterior, CLASSES) for case, posterior in zip(cases, posteriors, strict=True)]


def f1_of(decoder: Decoder, fitting: list) -> float:
    rows = EventRows()
    for (events,) in events_of([decoder], fitting, CLASSES):
        rows.append(events)
    return mean_f1(rows.sums())


def test_smoothing_beats_thresholds_and_those_beat_nothing_on_noisy_posteriors() -> None:
    fitting, scoring = clips(4), clips(9)[16:]
    smoother = fit_smoother(fitting, Durations(), CLASSES)
    thresholds = fit_thresholds(fitting, CLASSES)
    figures = episode_figures(
        scoring, CLASSES, smoother=smoother, thresholds=thresholds, bootstrap=Bootstrap(draws=200)
    )
    offline, causal, threshold, argmax = (
        figures[name]["mean_f1"]["value"] for name in ("offline", "causal", "threshold", "argmax")
    )
    assert argmax < threshold < offline
    assert argmax < causal
    gain = figures["offline_minus_threshold"]
    assert gain["value"] == pytest.approx(offline - threshold, abs=2e-6)
    assert gain["low"] < gain["value"] < gain["high"]
    assert figures["lag_s"] == smoother.lag_s == LAG_S


def test_each_fit_is_the_best_of_its_grid() -> None:
    fitting = clips(3)
    smoother = fit_smoother(fitting, Durations(), CLASSES)
    for weight in (1.0, 1.41, 2.0):
        other = replace(smoother, weight=weight, causal_weight=weight)
        assert f1_of(smoother, fitting) >= f1_of(other, fitting) - 1e-6
        assert f1_of(smoother.causal, fitting) >= f1_of(other.causal, fitting) - 1e-6
    best = f1_of(fit_thresholds(fitting, CLASSES), fitting)
    for other in (Thresholds(), Thresholds(enter=0.4, leave=0.4, shortest_s=0.5)):
        assert best >= f1_of(other, fitting) - 1e-6
    assert best > f1_of(MostProbable(), fitting)


def test_without_step_labels_the_defaults_stand() -> None:
    bare = make_case("bare", "p1", np.zeros(30, dtype=np.int64), seed=0, step_labels=np.full(30, -100))
    assert labelled(bare, np.zeros((30, 4)), CLASSES) is None
    assert fit_smoother([], Durations(), CLASSES) == Smoother(lag_s=LAG_S)
    assert fit_thresholds([], CLASSES) == Thresholds()
    assert (
        episode_figures([], CLASSES, smoother=Smoother(), thresholds=Thresholds(), bootstrap=Bootstrap(draws=10)) == {}
    )
