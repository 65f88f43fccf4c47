from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, recall_score

from components.ablation.answers import ALL
from components.ablation.figures import HEADLINE, MISSING, Items, TableRow, details, table, verdict
from components.contracts.config import Evaluate
from components.evaluation.intervals import Bootstrap, Subjects

K, N, PEOPLE, SEEDS = 3, 60, 6, 3
CONFIG = Evaluate(bootstrap=40, calibration_bins=5)


def items() -> Items:
    rng = np.random.default_rng(0)
    person = np.arange(N) % PEOPLE
    return Items(
        subjects=Subjects.of([f"s{index}" for index in person]),
        truth=rng.integers(K, size=N),
        fold=person % 2,
        folds=("even", "odd"),
        groups=[{"gender": "female" if index % 3 else "male"} for index in person],
    )


def posterior(skill: float, seed: int, seeds: int = SEEDS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(seeds, N, K)) + skill * np.eye(K)[items().truth]
    return (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)


def row(name: str, skill: float, seed: int = 1, *, candidate: bool = True, **patterns: np.ndarray) -> TableRow:
    given = {ALL: posterior(skill, seed), **{key.replace("_", "+"): value for key, value in patterns.items()}}
    return TableRow(name=name, about="", posterior=given, candidate=candidate, facts={"kind": "trained", "same": []})


def by_hand(statistic: Any, first: np.ndarray, second: np.ndarray | None) -> tuple[float, float, float]:
    """Value and interval by drawing people, taking all their items, and scoring each seed anew."""
    known = items()

    def mean(chosen: np.ndarray) -> float:
        own = np.mean([statistic(known.truth[chosen], values[chosen]) for values in first])
        return own - (0 if second is None else np.mean([statistic(known.truth[chosen], v[chosen]) for v in second]))

    draws = []
    for weights in np.concatenate([*Bootstrap(draws=CONFIG.bootstrap, seed=7).weights(PEOPLE)]).astype(int):
        chosen = [np.nonzero(known.subjects.index == person)[0] for person in np.repeat(np.arange(PEOPLE), weights)]
        draws.append(mean(np.concatenate(chosen)))
    low, high = np.quantile(draws, [0.025, 0.975])
    return mean(np.arange(N)), float(low), float(high)


def f1(truth: np.ndarray, values: np.ndarray) -> float:
    return f1_score(truth, values.argmax(-1), average="macro", zero_division=0)


def loss(truth: np.ndarray, values: np.ndarray) -> float:
    exact = values.astype(np.float64)
    return log_loss(truth, exact / exact.sum(-1, keepdims=True), labels=list(range(K)))


def uar(truth: np.ndarray, values: np.ndarray) -> float:
    return recall_score(truth, values.argmax(-1), average="macro", zero_division=0)


@pytest.mark.parametrize(("name", "statistic"), [(HEADLINE, f1), ("nll", loss), ("uar", uar)])
def test_figures_and_paired_differences_are_those_made_by_hand(name: str, statistic: Any) -> None:
    default, other = row("default", 1.0, 1), row("other", 1.6, 2)
    found = table([default, other], items(), CONFIG, seed=7)
    own = found[1]["figures"][name]
    assert (own["value"], own["low"], own["high"]) == pytest.approx(
        by_hand(statistic, other.posterior[ALL], None), abs=1e-5
    )
    paired = found[1]["minus_default"][name]
    assert (paired["value"], paired["low"], paired["high"]) == pytest.approx(
        by_hand(statistic, other.posterior[ALL], default.posterior[ALL]), abs=1e-5
    )
    known = items().truth
    per_seed = [statistic(known, a) - statistic(known, b) for a, b in zip(other.posterior[ALL], default.posterior[ALL], strict=True)]  # fmt: skip # noqa: E501
    assert paired["seed_sd"] == pytest.approx(np.std(per_seed, ddof=1), abs=1e-5)
    assert found[0]["minus_default"] == {}


def test_pairing_leaves_no_doubt_about_a_row_and_itself() -> None:
    found = table([row("default", 1.0), row("same", 1.0)], items(), CONFIG, seed=7)
    for difference in found[1]["minus_default"].values():
        assert (difference["value"], difference["low"], difference["high"]) == (0, 0, 0)


def test_rows_with_one_answer_are_compared_with_the_mean_over_seeds() -> None:
    constant = np.tile(np.array([0.5, 0.3, 0.2], dtype=np.float32), (1, N, 1))
    made = TableRow(name="majority", about="", posterior={ALL: constant}, candidate=False, facts={})
    found = table([row("default", 1.0), made], items(), CONFIG, seed=7)
    assert found[1]["seeds"] == 1
    assert found[1]["minus_default"][HEADLINE]["seed_sd"] is None
    expected = f1(items().truth, constant[0]) - found[0]["figures"][HEADLINE]["value"]
    assert found[1]["minus_default"][HEADLINE]["value"] == pytest.approx(expected, abs=1e-5)


def test_patterns_are_scored_where_a_clip_has_something_of_them() -> None:
    face = posterior(0.5, 3)
    face[:, ::2] = np.nan
    voice = posterior(0.8, 4)
    found = table([row("default", 1.0, face_voice=posterior(1.0, 1), face=face, voice=voice)], items(), CONFIG, seed=7)
    own, known = found[0], items().truth
    alone = np.mean([f1(known[1::2], values[1::2]) for values in face])
    assert own["patterns"]["face"]["value"] == pytest.approx(alone, abs=1e-5)
    expected = (alone + np.mean([f1(known, values) for values in voice])) / 2
    assert own["figures"][MISSING]["value"] == pytest.approx(expected, abs=1e-5)
    assert own["figures"][MISSING]["seed_sd"] > 0
    # A row that knows one modality alone is not compared by the mean over all.
    rows = [row("default", 1.0, face_voice=posterior(1.0, 1), face=face, voice=voice), row("voice", 0.8, voice=voice)]
    assert MISSING not in table(rows, items(), CONFIG, seed=7)[1]["figures"]


def test_folds_are_scored_by_themselves() -> None:
    own = row("default", 1.0)
    found = table([own], items(), CONFIG, seed=7)[0]["folds"]
    even = items().fold == 0
    expected = np.mean([f1(items().truth[even], values[even]) for values in own.posterior[ALL]])
    assert found["even"][HEADLINE] == pytest.approx(expected, abs=1e-5)
    assert set(found) == {"even", "odd"}


def test_details_hold_classes_and_groups() -> None:
    found = details(row("default", 2.0), items(), ("a", "b", "c"), CONFIG, seed=7)
    assert set(found["per_class"]) == {"a", "b", "c"}
    assert found["per_class"]["a"]["items"] == SEEDS * int((items().truth == 0).sum())
    assert found["slices"]["gender"]["values"]["male"]["subjects"] == 2


def said(value: float, difference: tuple[float, float, float] | None = None, **fields: Any) -> dict[str, Any]:
    minus = {}
    if difference is not None:
        minus = {HEADLINE: dict(zip(("value", "low", "high"), difference, strict=True))}
    return {"candidate": True, "figures": {HEADLINE: {"value": value}}, "minus_default": minus, **fields}


DEFAULT = said(0.7, name="default")


def test_a_win_needs_five_seeds_and_an_interval_without_zero() -> None:
    clear = said(0.75, (0.05, 0.02, 0.08), name="better")
    found = verdict([DEFAULT, clear], seeds=5)
    assert (found["best"], found["claim"], found["is_default"]) == ("better", True, False)
    assert "better wins and is not the configured default" in found["words"]
    found = verdict([DEFAULT, clear], seeds=4)
    assert not found["claim"]
    assert "leads, not a claim" in found["words"]
    assert "wins" not in found["words"]
    found = verdict([DEFAULT, said(0.71, (0.01, -0.01, 0.03), name="maybe")], seeds=5)
    assert not found["claim"]
    assert "includes 0" in found["words"]
    assert "wins" not in found["words"]


def test_the_default_wins_only_where_it_beats_all() -> None:
    worse, close = said(0.6, (-0.1, -0.2, -0.05), name="worse"), said(0.69, (-0.01, -0.03, 0.01), name="close")
    found = verdict([DEFAULT, worse, close], seeds=5)
    assert (found["best"], found["is_default"], found["claim"]) == ("default", True, False)
    assert "next is close" in found["words"]
    assert "1 of 2 variants: worse" in found["words"]
    assert verdict([DEFAULT, worse], seeds=5)["claim"]
    few = verdict([DEFAULT, worse], seeds=2)
    assert not few["claim"]
    assert "not a claim" in few["words"]


def test_baselines_and_causal_models_never_win() -> None:
    found = verdict([DEFAULT, said(0.9, (0.2, 0.1, 0.3), name="ensemble", candidate=False)], seeds=5)
    assert found["best"] == "default"
    assert verdict([DEFAULT], seeds=5)["claim"] is False
