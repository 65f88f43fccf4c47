from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.catalog.cases import Case
from components.evaluation.fitting import fit_calibration, fit_posteriors
from components.inference.calibration import Calibration
from components.inference.contradiction import Rarity
from components.inference.scoring import Logits, Scorer
from tests.evaluation.made import WIDTHS, make_split, trained_model, without

CASES = make_split("cal", 2)


def read(cases: tuple[Case, ...]) -> list[Logits]:
    scorer = Scorer(trained_model(), Calibration())
    return [scorer.logits(case.features, case.masks) for case in cases]


def nll(calibration: Calibration, cases: tuple[Case, ...]) -> float:
    """The mean negative log-likelihood of the clips' labels."""
    scorer = Scorer(trained_model(), calibration)
    posteriors = [scorer.score(case.features, case.masks).clip_posterior for case in cases]
    return -float(np.mean([np.log(row[case.clip_label]) for row, case in zip(posteriors, cases, strict=True)]))


def test_every_head_has_a_temperature_and_every_count_of_modalities() -> None:
    fitted, logits = fit_posteriors(trained_model(), CASES, read)
    assert len(logits) == len(CASES)
    assert fitted.unimodal.keys() == fitted.unimodal_step.keys() == WIDTHS.keys()
    assert fitted.step_by_count.keys() == fitted.clip_by_count.keys() == {1, 2}
    temperatures = [fitted.step, fitted.clip, *fitted.unimodal.values(), *fitted.clip_by_count.values()]
    assert all(0 < temperature < np.inf for temperature in temperatures)


def test_fitting_brings_the_labels_closer() -> None:
    fitted, _ = fit_posteriors(trained_model(), CASES, read)
    assert nll(fitted, CASES) <= nll(Calibration(), CASES) + 1e-6


def test_the_order_of_the_clips_makes_no_difference() -> None:
    forward, _ = fit_posteriors(trained_model(), CASES, read)
    backward, _ = fit_posteriors(trained_model(), CASES[::-1], read)
    assert abs(forward.clip - backward.clip) < 1e-3
    assert abs(forward.step - backward.step) < 1e-3


def test_heads_without_a_label_keep_one() -> None:
    bare = tuple(replace(case, clip_label=-100, step_labels=np.full_like(case.step_labels, -100)) for case in CASES[:3])
    fitted, _ = fit_posteriors(trained_model(), bare, read)
    assert fitted.step == fitted.clip == 1.0
    assert set(fitted.unimodal.values()) == set(fitted.unimodal_step.values()) == {1.0}
    empty, logits = fit_posteriors(trained_model(), (), read)
    assert (empty.step, empty.clip, logits) == (1.0, 1.0, [])


def test_a_modality_that_is_absent_everywhere_is_fitted_on_nothing() -> None:
    faces = tuple(without(case, "voice") for case in CASES)
    fitted, _ = fit_posteriors(trained_model(), faces, read)
    assert fitted.unimodal.get("voice", 1.0) == 1.0
    assert fitted.clip_by_count.keys() == {1}


def test_rarity_is_fitted_on_clips_in_which_nothing_was_planted() -> None:
    fitted = fit_calibration(trained_model(), CASES, quantile=0.9)
    assert fitted.contradiction_threshold == 0.9
    scorer = Scorer(trained_model(), replace(fitted, rarity=Rarity()))
    moments = {
        case.clip_id: scorer.calibrated(item, case.masks).moments for case, item in zip(CASES, read(CASES), strict=True)
    }
    planted = {case.clip_id for case in CASES if case.has_planted("contradiction")}
    peaks = [found.peak for name, found in moments.items() if found is not None and name not in planted]
    assert planted
    assert len(peaks) > len(planted)
    assert fitted.rarity == Rarity.fit(peaks)
