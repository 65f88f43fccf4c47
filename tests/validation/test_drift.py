from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from components.contracts.config import Drift
from components.contracts.layout import Layout
from components.features.base import Encoded
from components.features.store import FeatureStore
from components.validation.checkpoint import Checker
from components.validation.drift import Measure, compare, frechet, jensen_shannon, wasserstein
from components.validation.judge import DatasetValidation, judge
from components.validation.profile import QUANTILES, effective_number
from components.validation.upstream import read_upstream
from pipelines.stages import STAGES
from tests.validation.tables import Tiny, tiny_clips, tiny_params

Profile = dict[str, Any]


def made(rng: np.random.Generator, *, clips: int = 400, people: int = 100) -> Profile:
    """The profile of a dataset of which everything is drawn anew from the same distributions."""
    emotions = np.bincount(rng.choice(4, clips, p=(0.4, 0.3, 0.2, 0.1)), minlength=4)
    speaker = rng.integers(people, size=clips)
    steps = {
        modality: rng.standard_normal((people, 16))[speaker] + 0.3 * rng.standard_normal((clips, 16))
        for modality in ("face", "voice")
    }

    def quantiles(values: np.ndarray) -> list[float]:
        return np.quantile(values, QUANTILES).tolist()

    return {
        "clips": clips,
        "people": people,
        "effective_people": effective_number(np.bincount(speaker, minlength=people).tolist()),
        "emotions": dict(zip(("neutral", "anger", "fear", "sadness"), emotions.tolist(), strict=True)),
        "duration_s": quantiles(rng.gamma(4.0, 1.0, clips)),
        "speech_fraction": quantiles(rng.beta(4, 2, clips)),
        "coverage": {"face": quantiles(rng.beta(8, 1, clips)), "voice": quantiles(rng.beta(5, 2, clips))},
        "features": {
            modality: {
                "encoder": modality,
                "alignment": "a",
                "clips": clips,
                "mean": values.mean(axis=0).tolist(),
                "deviation": values.std(axis=0).tolist(),
            }
            for modality, values in steps.items()
        },
    }


def moved(now: Profile, before: Profile, limits: Drift | None = None) -> dict[str, Measure]:
    compared = compare(now, before, limits or Drift())
    return {measure.name: measure for measure in compared.measures if measure.value > measure.limit}


def test_distances_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    one, other = {"a": 30, "b": 70}, {"b": 20, "c": 20}
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon([0.3, 0.7, 0], [0, 0.5, 0.5], base=2))
    assert jensen_shannon({"a": 1}, {"b": 1}) == pytest.approx(1.0)
    x, y = rng.uniform(size=20_000), 2 * rng.uniform(size=20_000) + 1
    gap = wasserstein(np.quantile(x, QUANTILES).tolist(), np.quantile(y, QUANTILES).tolist())
    assert gap == pytest.approx(wasserstein_distance(x, y), rel=0.01)
    zero, same = np.zeros(3), np.array([1.0, 2.0, 0.0])
    apart = frechet(np.array([0.0, 2.0, 5.0]), same, zero, same)
    assert apart == pytest.approx([0.0, 1.0, 4.0])  # 0 and 1 deviations; a constant that moved counts as 4
    assert effective_number([5, 5, 5]) == pytest.approx(3)
    assert effective_number([98, 1, 1]) < 1.05


@pytest.mark.parametrize("size", [(24, 8), (400, 100)])
def test_data_drawn_anew_has_not_moved(size: tuple[int, int]) -> None:
    """Also where there are few clips, which differ by chance; a limit that says otherwise would always be broken."""
    rng = np.random.default_rng(7)
    strict = Drift(max_class_balance=0.01, max_durations=0.01, max_coverage=0.01, max_features=0.01)
    drawn = [made(rng, clips=size[0], people=size[1]) for _ in range(30)]
    found = [name for now, before in zip(drawn[1:], drawn, strict=False) for name in moved(now, before, strict)]
    assert len(found) <= 0.02 * 29 * 7, found


def _more_anger(now: Profile) -> None:
    now["emotions"]["anger"] += 250


def _one_person(now: Profile) -> None:
    now["effective_people"] = 30.0


def _twice(*path: str) -> Callable[[Profile], None]:
    def change(now: Profile) -> None:
        for key in path[:-1]:
            now = now[key]
        now[path[-1]] = [2 * value for value in now[path[-1]]]

    return change


def _half(*path: str) -> Callable[[Profile], None]:
    def change(now: Profile) -> None:
        for key in path[:-1]:
            now = now[key]
        now[path[-1]] = [value / 2 for value in now[path[-1]]]

    return change


CHANGES = {
    "class_balance": (_more_anger, "anger 30 % → "),
    "people": (_one_person, "with equally many clips"),
    "durations": (_twice("duration_s"), "median (and 90 % of the clips) 3."),
    "speech": (_half("speech_fraction"), "→ 3"),
    "coverage_voice": (_half("coverage", "voice"), "→ 3"),
    "features_voice": (_half("features", "voice", "deviation"), "of 16: mean"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_named_and_nothing_else(name: str) -> None:
    change, says = CHANGES[name]
    before = made(np.random.default_rng(1))
    now = copy.deepcopy(before)
    change(now)
    found = moved(now, before)
    assert set(found) == {name}
    assert says.replace(" %", "%") in found[name].seen.replace(" %", "%")


def test_more_people_than_before_are_no_loss() -> None:
    before = made(np.random.default_rng(1))
    assert moved({**before, "effective_people": 300.0}, before) == {}


def test_a_modality_that_is_gone_is_missed_and_another_encoder_is_not_compared() -> None:
    before = made(np.random.default_rng(1))
    now = copy.deepcopy(before)
    del now["coverage"]["voice"], now["features"]["voice"]
    now["features"]["face"]["encoder"] = "another"
    assert set(moved(now, before)) == {"coverage_voice"}
    notes = compare(now, before, Drift()).notes
    assert any("features of voice: gone" in note for note in notes)
    assert any("features of face: made by a different encoder" in note for note in notes)


def moving(*, change: bool) -> Tiny:
    """Forty people; changed, everything about the dataset is otherwise."""
    if not change:
        return Tiny(clips=tiny_clips(subjects=40))
    data = Tiny(clips=tiny_clips(subjects=14, emotions=("fear", "anger", "sadness")))
    for row, entry in zip(data.index, data.quality, strict=True):
        row["coverage"] = [("face", 0.1), ("voice", 1.0)]
        row["duration_s"] = 20.0
        entry["speech_fraction"] = 0.1
    for modality in data.encoders:
        for key, encoded in data.features[modality].items():
            data.features[modality][key] = Encoded(4 + 2 * encoded.values, encoded.valid)
    return data


def judged(root: Path, data: Tiny, reference: Profile | None, **drift: Any) -> DatasetValidation:
    layout = data.write(Layout(root))
    params = tiny_params()
    params = params.model_copy(
        update={"validation": params.validation.model_copy(update={"drift": Drift(**drift)})},
    )
    store = FeatureStore(layout.features("tiny"))
    values = STAGES["validation"].values(params)
    return judge(read_upstream(layout, "tiny"), store, Checker(), reference=reference, **values)


@pytest.mark.integration
def test_a_dataset_that_moved_stops_the_stage_until_somebody_accepts_it(tmp_path: Path) -> None:
    """Every measure is broken once, through a real context."""
    first = judged(tmp_path / "first", moving(change=False), None)
    said = first.result(tiny_params().labels.resolved)["drift"]
    assert said["compared_with"] is None
    assert "no earlier version was accepted" in said["notes"][0]
    before = dict(first.profile)
    assert not any("tiny/s" in key for key in str(before).split())  # it names nobody

    same = judged(tmp_path / "same", moving(change=False), before)
    assert not same.broken
    names = {"class_balance", "people", "durations", "speech", "coverage_face", "coverage_voice"}
    names |= {"features_face", "features_voice"}
    assert set(same.result(tiny_params().labels.resolved)["drift"]["measures"]) == names

    other = judged(tmp_path / "other", moving(change=True), before)
    assert {one.expectation.name for _, one in other.broken} == names - {"coverage_voice"}
    text = str(other.error(""))
    assert "tiny: drift.class_balance" in text
    assert "mer accept" in text
    assert "fear 0% → 33% of the clips" in text

    warned = judged(tmp_path / "warned", moving(change=True), before, on_drift="warn")
    assert not warned.broken
    result = warned.result(tiny_params().labels.resolved)
    assert result["success"]
    assert result["drift"]["measures"]["durations"]["moved"]
    # What it was before changes nothing about what it is: accepting it trains no model again.
    again = judged(tmp_path / "again", moving(change=True), dict(other.profile))
    assert again.result(tiny_params().labels.resolved)["fingerprint"] == result["fingerprint"]
