from __future__ import annotations

import numpy as np
import pytest

from components.contracts.errors import BundleError
from components.inference.durations import Durations, LabelRun, label_runs


def probabilities(durations: Durations, rate_hz: float, steps: int) -> np.ndarray:
    """P(D = d) for d = 1 … steps from the hazard, whose last value goes on."""
    hazard = durations.hazard(rate_hz)
    hazard = np.concatenate([hazard, np.full(max(0, steps - hazard.size), hazard[-1])])[:steps]
    return hazard * np.concatenate([[1.0], np.cumprod(1 - hazard)[:-1]])


def test_flashes_and_moods_both_keep_their_mass() -> None:
    durations = Durations(flash_share=0.3, flash_median_s=0.4, flash_spread=0.3, mood_mean_s=3.0)
    chance = probabilities(durations, 10.0, 2000)
    assert chance.sum() == pytest.approx(1.0)
    assert chance[:9].sum() == pytest.approx(0.3)
    assert chance[:9].argmax() == 3
    lengths = np.arange(1, 2001)
    mood = chance[9:] / chance[9:].sum()
    assert (mood * lengths[9:]).sum() / 10 == pytest.approx(3.0, abs=0.01)
    assert chance[9] > chance[8], "moods begin at a second"


@pytest.mark.parametrize("rate_hz", [0.5, 1.0, 1.5, 2.0, 25.0])
def test_any_rate_has_a_proper_hazard(rate_hz: float) -> None:
    hazard = Durations(flash_spread=0.05).hazard(rate_hz)
    assert hazard.size == max(2, int(np.ceil(rate_hz)))
    assert (hazard >= 0).all()
    assert (hazard < 1).all()


def test_it_is_learned_from_whole_and_cut_stretches() -> None:
    flashes = [LabelRun(seconds, True, True) for seconds in (0.3, 0.4, 0.4, 0.5, 0.6)]
    # 5 s after the first second and one end; 4 s at the start of a clip and one end; an undecided one that counts not.
    moods = [
        LabelRun(3.0, True, True),
        LabelRun(4.0, True, False),
        LabelRun(4.0, False, True),
        LabelRun(0.4, True, False),
    ]
    found = Durations.fit([*flashes, *moods])
    assert found.flash_share == pytest.approx(6 / 9, abs=1e-6)
    assert found.flash_median_s == pytest.approx(0.4)
    assert found.mood_mean_s == pytest.approx(1.0 + (2.0 + 3.0 + 4.0) / 2)
    assert Durations.fit([]) == Durations()
    assert Durations.fit([LabelRun(3.0, False, False)] * 50) == Durations(), "clips without a change teach nothing"


def test_moods_that_were_drawn_are_found_again_though_clips_cut_them() -> None:
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(3000):
        at_s = -float(rng.exponential(3.0))
        while at_s < 6.0:
            flash = rng.random() < 0.4
            end_s = at_s + (float(rng.uniform(0.3, 0.6)) if flash else 1.0 + float(rng.exponential(3.0)))
            if end_s > 0:
                runs.append(LabelRun(min(end_s, 6.0) - max(at_s, 0.0), at_s > 0, end_s < 6.0))
            at_s = end_s
    found = Durations.fit([run for run in runs if run.begins or run.seconds > 1.0])
    assert found.flash_share == pytest.approx(0.45, abs=0.06)
    assert found.mood_mean_s == pytest.approx(4.0, rel=0.15)


def test_label_runs_know_what_the_clip_cut() -> None:
    labels = np.array([-100, 0, 0, -100, 0, 1, 1, 2])
    assert label_runs(labels, 10.0) == [
        LabelRun(0.4, False, True),
        LabelRun(0.2, True, True),
        LabelRun(0.1, True, False),
    ]
    assert label_runs(np.full(4, -100), 10.0) == []


def test_json_and_bounds() -> None:
    durations = Durations(flash_share=0.4, mood_mean_s=7.5)
    assert Durations.from_json(durations.to_json()) == durations
    for bad in ({"flash_share": 1.0}, {"flash_median_s": 0.0}, {"mood_mean_s": 0.5}, {"flash_spread": float("nan")}):
        with pytest.raises(BundleError, match="out of bounds"):
            Durations(**bad)
    with pytest.raises(BundleError, match="not durations of a smoother"):
        Durations.from_json({"flash_share": 0.2})
