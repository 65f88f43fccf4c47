from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.catalog.cases import Case
from components.contracts.config import Model
from components.evaluation.affect import affect_figures
from components.evaluation.intervals import Bootstrap
from components.inference.calibration import Calibration
from components.inference.scoring import Scored, Scorer
from components.model.agreement import concordance, moment_sums
from components.model.build import build_model
from components.model.spec import ModelSpec
from tests.evaluation.made import CLASSES, WIDTHS, make_split

BOOTSTRAP = Bootstrap(draws=50)


def scored(cases: list[Case], *, head: bool) -> list[Scored]:
    torch.manual_seed(0)
    spec = ModelSpec(modalities=WIDTHS, classes=CLASSES, model=Model(width=8, heads=2), valence_arousal=head)
    scorer = Scorer(build_model(spec), Calibration())
    return [scorer.score(case.features, case.masks) for case in cases]


def rated(cases: list[Case]) -> list[Case]:
    rng = np.random.default_rng(0)
    return [replace(case, valence_arousal=(float(rng.uniform(-1, 1)), float("nan"))) for case in cases]


def test_concordance_is_of_the_rated_clips_with_an_interval_over_people() -> None:
    cases = rated(list(make_split("affect", 3, clips=4)))
    cases[0] = replace(cases[0], valence_arousal=(float("nan"), float("nan")))
    found = scored(cases, head=True)
    figures = affect_figures(cases, found, BOOTSTRAP)
    assert set(figures) == {"valence"}
    truth = torch.tensor([case.valence_arousal[0] for case in cases])
    predicted = torch.tensor(np.stack([item.valence_arousal for item in found])[:, 0])
    value = figures["valence"]["ccc"]
    assert value["value"] == pytest.approx(float(concordance(moment_sums(truth, predicted))), abs=1e-5)
    assert value["low"] < value["high"]
    assert figures["valence"]["clips"] == len(cases) - 1


def test_one_person_leaves_the_interval_unknown() -> None:
    cases = rated(list(make_split("affect", 1, clips=4)))
    value = affect_figures(cases, scored(cases, head=True), BOOTSTRAP)["valence"]["ccc"]
    assert value["value"] is not None
    assert value["low"] is None
    assert value["high"] is None


def test_without_a_head_or_ratings_there_is_nothing_to_say() -> None:
    cases = list(make_split("affect", 1, clips=4))
    assert affect_figures(rated(cases), scored(cases, head=False), BOOTSTRAP) == {}
    assert affect_figures(cases, scored(cases, head=True), BOOTSTRAP) == {}
