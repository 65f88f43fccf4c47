from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from components.contracts.config import Model, Promotion
from components.evaluation.gates import Gate, Verdict
from components.evaluation.intervals import Bootstrap
from components.evaluation.versions.against import GATES, Contender, Duel, contender, judge, undecided
from components.inference.calibration import Calibration
from components.inference.scoring import Scorer
from components.model.build import build_model
from components.model.spec import ModelSpec
from tests.evaluation.made import CLASSES, WIDTHS, make_split, trained_model

CONFIG = Promotion()
CASES = make_split("test", 5)


@cache
def good() -> Contender:
    return contender(Scorer(trained_model(), Calibration()), CASES, latency_s=0.01, weights_bytes=1000)


@cache
def untrained() -> Contender:
    torch.manual_seed(0)
    model = build_model(ModelSpec(modalities=WIDTHS, classes=CLASSES, model=Model(width=16, heads=2, tcn_blocks=1)))
    return contender(Scorer(model.eval(), Calibration()), CASES, latency_s=0.02, weights_bytes=3000)


def duel(challenger: Contender, champion: Contender, level: str = "clip") -> dict[str, Gate]:
    fight = Duel(challenger=challenger, champion=champion, level=level, bootstrap=Bootstrap(draws=60, seed=1), bins=5)
    return {gate.name: gate for gate in judge(CONFIG, fight)}


def test_every_bound_of_the_section_is_measured() -> None:
    assert list(GATES) == [name for name in Promotion.model_fields if name != "auto_promote"]


@pytest.mark.parametrize("level", ["clip", "step"])
def test_a_version_loses_nothing_to_itself(level: str) -> None:
    gates = duel(good(), good(), level)
    assert {gate.value for name, gate in gates.items() if name not in ("latency_ratio", "size_ratio")} <= {0.0, None}
    assert gates["loss"].verdict is gates["ece_rise"].verdict is Verdict.PASSED
    assert gates["latency_ratio"].value == gates["size_ratio"].value == 1.0


def test_a_worse_one_fails_and_a_better_one_passes() -> None:
    worse = duel(untrained(), good())
    assert worse["loss"].verdict is worse["missing_modality_loss"].verdict is Verdict.FAILED
    assert worse["slice_loss"].verdict is not Verdict.PASSED
    assert worse["latency_ratio"].verdict is worse["size_ratio"].verdict is Verdict.FAILED
    assert "below the champion's on 5 people" in worse["loss"].words
    better = duel(good(), untrained())
    assert better["loss"].passed
    assert better["missing_modality_loss"].verdict is not Verdict.FAILED
    assert better["size_ratio"].passed


def test_one_person_or_no_comparison_is_not_enough_evidence() -> None:
    alone = make_split("test", 1)
    one = contender(Scorer(trained_model(), Calibration()), alone, latency_s=0.01, weights_bytes=1)
    assert duel(one, one)["loss"].verdict is Verdict.UNDECIDED
    none = duel(replace(good(), cases=[], answers={(): []}), replace(good(), cases=[], answers={(): []}))
    assert none["loss"].verdict is none["slice_loss"].verdict is none["ece_rise"].verdict is Verdict.UNDECIDED
    gates = undecided(CONFIG, "different classes")
    assert {gate.verdict for gate in gates} == {Verdict.UNDECIDED}
    assert gates[0].words == "unknown: different classes"


def test_contenders_of_different_modalities_meet_on_the_clips_that_both_answer() -> None:
    torch.manual_seed(0)
    small = Model(width=16, heads=2, tcn_blocks=1)
    model = build_model(ModelSpec(modalities={"voice": WIDTHS["voice"]}, classes=CLASSES, model=small)).eval()
    cases = [
        replace(case, features={"voice": case.features["voice"]}, masks={"voice": case.masks["voice"]})
        for case in CASES
    ]
    voice = contender(Scorer(model, Calibration()), cases, latency_s=0.01, weights_bytes=1)
    gates = duel(voice, good())
    assert gates["loss"].verdict is Verdict.FAILED
    assert "without face" in gates["missing_modality_loss"].words
    assert duel(good(), voice, "step")["loss"].passed
