from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.ablation.answering import answer, calibrate
from components.ablation.answers import ALL
from components.catalog.cases import Case
from components.evaluation.fitting import fit_calibration
from components.inference.calibration import Calibration
from components.inference.scoring import Scorer, keep
from tests.evaluation.made import CLASSES, WIDTHS, make_split, trained_model, without

PRIOR = np.array([0.4, 0.3, 0.2, 0.1], dtype=np.float32)
LEVELS = ("clip", "step")


def answers(test: tuple[Case, ...], levels: tuple[str, ...] = LEVELS):  # type: ignore[no-untyped-def]
    splits = {"calibration": make_split("cal", 3), "test": test}
    prior = dict.fromkeys(levels, PRIOR)
    calibration = calibrate(trained_model(), splits["calibration"])
    return answer(trained_model(), calibration, splits, prior=prior, levels=levels, modalities=tuple(WIDTHS))


def test_batches_give_what_one_clip_at_a_time_gives_calibrated_alike() -> None:
    # Clips of several lengths, so that batches are padded.
    test = tuple(
        replace(
            case,
            features={name: values[: 30 - index] for name, values in case.features.items()},
            masks={name: mask[: 30 - index] for name, mask in case.masks.items()},
            step_labels=case.step_labels[: 30 - index],
        )
        for index, case in enumerate(make_split("test", 2))
    )
    found = answers(test)
    scorer = Scorer(trained_model(), fit_calibration(trained_model(), make_split("cal", 3), quantile=0.9))
    clips = found["test", "clip"]
    assert clips.clips == tuple(case.clip_id for case in test)
    assert clips.truth.tolist() == [case.clip_label for case in test]
    for index, case in enumerate(test):
        scored = scorer.score(case.features, case.masks)
        assert clips.posterior[ALL][index] == pytest.approx(scored.clip_posterior, abs=2e-5)
        for name in WIDTHS:
            if name in case.present:
                assert clips.unimodal[name][index] == pytest.approx(scored.unimodal_posterior[name], abs=2e-5)
                kept = scorer.score(*keep(case.features, case.masks, (name,)))
                assert clips.posterior[name][index] == pytest.approx(kept.clip_posterior, abs=2e-5)
            else:
                assert np.isnan(clips.unimodal[name][index]).all()
                assert np.isnan(clips.posterior[name][index]).all()
        steps = found["test", "step"]
        assert steps.posterior[ALL][steps.clip == index] == pytest.approx(scored.step_posterior, abs=2e-5)
    # Patterns are for the level that leads.
    assert set(clips.posterior) == {ALL, "face+voice", "face", "voice"}
    assert set(found["test", "step"].posterior) == {ALL}
    assert set(found["calibration", "clip"].posterior) == {ALL}


def test_where_nothing_is_seen_the_answer_is_the_prior() -> None:
    blind = replace(without(without(make_split("test", 1)[0], "voice"), "face"), clip_id="tiny/blind")
    found = answers((*make_split("test", 1), blind))
    assert found["test", "clip"].posterior[ALL][-1].tolist() == PRIOR.tolist()
    assert np.isnan(found["test", "clip"].posterior["face+voice"][-1]).all()
    steps = found["test", "step"]
    assert (steps.posterior[ALL][steps.clip == 12] == PRIOR).all()
    assert not np.isnan(steps.posterior[ALL]).any()


def test_what_has_no_label_is_no_item() -> None:
    first, second, *rest = make_split("test", 1)
    partly = np.where(np.arange(30) < 10, second.step_labels, -100)
    found = answers((replace(first, clip_label=-100), replace(second, step_labels=partly), *rest))
    assert found["test", "clip"].clip.tolist() == list(range(1, 12))
    assert (found["test", "step"].clip == 1).sum() == 10
    assert found["test", "step"].truth.max() < len(CLASSES)
    for answered in found.values():
        sizes = {values.shape[0] for values in [*answered.posterior.values(), *answered.unimodal.values()]}
        assert sizes == {answered.truth.size}


def test_the_labels_of_the_test_split_change_no_answer() -> None:
    test = make_split("test", 2)
    other = tuple(replace(case, clip_label=(case.clip_label + 1) % 4, step_labels=(case.step_labels + 1) % 4) for case in test)  # fmt: skip # noqa: E501
    relabelled = answers(other)
    for place, answered in answers(test).items():
        for name, values in answered.posterior.items():
            np.testing.assert_array_equal(values, relabelled[place].posterior[name])


def test_a_calibration_of_another_model_is_used_as_it_is() -> None:
    given = Calibration(clip=3.0, step=2.0, unimodal={"face": 5.0})
    splits = {"test": make_split("test", 1)}
    prior = dict.fromkeys(LEVELS, PRIOR)
    found = answer(trained_model(), given, splits, prior=prior, levels=LEVELS, modalities=tuple(WIDTHS))
    # Nothing of a split that is not given is needed, and none of it is told.
    assert set(found) == {("test", "clip"), ("test", "step")}
    scorer = Scorer(trained_model(), given)
    for index, case in enumerate(splits["test"]):
        scored = scorer.score(case.features, case.masks)
        assert found["test", "clip"].posterior[ALL][index] == pytest.approx(scored.clip_posterior, abs=2e-5)
        for name, opinion in scored.unimodal_posterior.items():
            assert found["test", "clip"].unimodal[name][index] == pytest.approx(opinion, abs=2e-5)
