from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.catalog.cases import Case
from components.contracts.config import Evaluate, Gates, Model, Train
from components.contracts.errors import DataError
from components.contracts.findings import split_in_words
from components.evaluation.evaluate import Evaluation, Splits, evaluate
from components.evaluation.fitting import Summary
from components.evaluation.gates import passed
from components.evaluation.objectives import OBJECTIVES, Priors, shift_for
from components.evaluation.pages.write import write_evaluation
from components.inference.calibration import Shift
from components.inference.scoring import Logits, Scored, Scorer
from components.model.build import build_model
from components.model.spec import ModelSpec
from components.runtime import spilled
from components.runtime.on_demand import OnDemand
from tests.evaluation.made import CLASSES, WIDTHS, make_split, trained_model, without
from tests.trees import tree_sha256

CONFIG = Evaluate(bootstrap=60, timelines=2)


@cache
def done() -> Evaluation:
    return run()


def run(**values: Any) -> Evaluation:
    made = {"train": make_split("train", 8), "calibration": make_split("cal", 4), "test": make_split("test", 5)}
    splits = Splits(**{name: values.pop(name, split) for name, split in made.items()})
    model = values.pop("model", trained_model())
    return evaluate(model, splits, **{"config": CONFIG, "gates": Gates(), "seed": 7, **values})


def fitted_on_few(**values: Any) -> Evaluation:
    """With few clips to fit on and to measure, for tests of what is not fitted."""
    few = {name: make_split(name, 2, clips=6) for name in ("train", "cal")}
    return run(**{"train": few["train"], "calibration": few["cal"], "test": make_split("test", 2), **values})


def test_a_model_that_learned_passes_its_gates_and_beats_the_baselines() -> None:
    found = done()
    assert passed(found.gates)
    assert found.level == "clip"
    assert [name for name, _ in found.table] == ["face+voice", "face", "voice", "majority", "product_of_experts"]
    assert found.metrics["clip"]["macro_f1"]["value"] > 0.8
    assert found.metrics["all_minus"]["majority"]["low"] > 0.5
    assert found.metrics["all_minus"]["face"]["low"] > 0.2
    assert found.metrics["baselines"]["majority"]["uar"]["value"] == 0.25


def test_the_figures_are_json_and_the_same_every_time() -> None:
    assert json.dumps(done().metrics, allow_nan=False) == json.dumps(run().metrics, allow_nan=False)


class Fleeting(OnDemand[Case]):
    """Clips as they come from disk: made for each look, and counted as long as somebody has their features."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.alive: list[weakref.ref[Case]] = []
        self.most = self.looks = 0

        def make(place: int) -> Case:
            case = replace(cases[place])
            self.alive = [kept for kept in self.alive if kept() is not None]
            self.alive.append(weakref.ref(case))
            self.most, self.looks = max(self.most, len(self.alive)), self.looks + 1
            return case

        super().__init__(make, np.arange(len(cases)))


def test_clips_on_disk_give_the_same_figures_and_a_few_at_a_time_are_in_memory() -> None:
    made = {"train": make_split("train", 8), "calibration": make_split("cal", 4), "test": make_split("test", 5)}
    splits = {name: Fleeting(cases) for name, cases in made.items()}
    found = run(**splits)
    assert json.dumps(found.metrics) == json.dumps(done().metrics)
    assert found.fitted.calibration == done().fitted.calibration
    for one, other in zip(found.scored, done().scored, strict=True):
        np.testing.assert_array_equal(one.step_posterior, other.step_posterior)
    assert all(split.most <= 2 for split in splits.values())  # the one in use and the one before it
    assert splits["train"].looks == len(made["train"])
    assert splits["test"].looks == 4 * len(made["test"])


def living(*kinds: type) -> int:
    gc.collect()
    return sum(isinstance(item, kinds) for item in gc.get_objects())


def test_what_is_kept_of_clips_on_disk_is_in_files_that_are_equal_to_those_of_clips_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spilled, "MEMORY_BYTES", 1)
    done()
    before, alive = living(Case, Scored, Logits), list[int]()
    splits = {"train": make_split("train", 8), "calibration": make_split("cal", 4), "test": make_split("test", 5)}

    def count(_: int) -> None:
        if len(alive) % 20 == 0:
            alive.append(living(Case, Scored, Logits) - before)
        else:
            alive.append(alive[-1])

    found = run(**{name: Fleeting(cases) for name, cases in splits.items()}, advance=count)
    assert len(alive) == len(splits["test"])
    assert max(alive) < 16, "a clip is scored under three patterns"
    assert living(Case, Scored, Logits) - before < 16
    for name, evaluation in (("memory", done()), ("disk", found)):
        write_evaluation(tmp_path / name, evaluation, title="mer", datasets=["tiny"], config=CONFIG)
    assert tree_sha256(tmp_path / "disk") == tree_sha256(tmp_path / "memory")


def test_priors_of_clips_that_are_drawn_unevenly_are_the_same_from_disk() -> None:
    train = Train(dataset_power=0.5, class_power=0.3, objective="accuracy")
    clips = tuple(
        replace(case, dataset="other" if place % 3 else case.dataset, clip_label=case.clip_label if place % 5 else -100)
        for place, case in enumerate(make_split("train", 3))
    )
    priors = [
        Priors.of(Summary.of(some, len(CLASSES)).learned, train, len(CLASSES)) for some in (clips, Fleeting(clips))
    ]
    for objective in OBJECTIVES:
        expected = shift_for(objective, train, clips, len(CLASSES))
        assert [own.shift(objective, train) for own in priors] == [expected] * 2
    assert shift_for("accuracy", train, clips, len(CLASSES)) != Shift()


def test_contradictions_are_measured_where_they_were_planted() -> None:
    figures = done().metrics["contradiction"]
    assert figures["planted"] == 10
    assert figures["auroc"]["low"] > 0.8
    assert figures["step"]["auroc"]["low"] > 0.8
    assert figures["step"]["planted"] == 10 * 30
    assert figures["recall_at_threshold"]["value"] > figures["false_alarms_at_threshold"]["value"]
    assert figures["spans"]["found_and_named"] == figures["spans"]["found"]


def test_without_anything_planted_only_the_false_alarms_are_known() -> None:
    plain = tuple(replace(case, planted=()) for case in make_split("test", 2))
    figures = fitted_on_few(test=plain).metrics["contradiction"]
    assert figures["planted"] == 0
    assert figures["auroc"]["value"] is figures["recall_at_threshold"]["value"] is None
    assert 0 <= figures["false_alarms_at_threshold"]["value"] <= 1


def test_smoothing_is_calmer_and_more_precise_than_the_most_probable_class() -> None:
    episodes = done().metrics["episodes"]
    assert episodes["offline"]["flips_per_minute"]["value"] < episodes["argmax"]["flips_per_minute"]["value"]
    assert episodes["causal"]["flips_per_minute"]["value"] < episodes["argmax"]["flips_per_minute"]["value"]
    assert (
        episodes["offline"]["transition"]["precision"]["value"] > episodes["argmax"]["transition"]["precision"]["value"]
    )
    assert episodes["offline"]["flash"]["true"] == 10
    gain = episodes["offline"]["mean_f1"]["value"] - episodes["threshold"]["mean_f1"]["value"]
    assert episodes["offline_minus_threshold"]["value"] == pytest.approx(gain, abs=2e-6)


def test_nothing_of_the_test_split_changes_what_is_fitted() -> None:
    scrambled = tuple(
        replace(case, clip_label=(case.clip_label + 1) % 4, step_labels=(case.step_labels + 1) % 4)
        for case in make_split("test", 5)
    )
    found = run(test=scrambled)
    assert found.fitted.calibration == done().fitted.calibration
    assert found.fitted.smoother == done().fitted.smoother
    assert found.fitted.thresholds == done().fitted.thresholds
    assert found.metrics["clip"]["accuracy"]["value"] < 0.2
    assert not passed(found.gates)


def test_a_model_that_knows_the_calibration_people_answers_with_what_was_fitted_for_the_first() -> None:
    torch.manual_seed(3)
    other = build_model(trained_model().spec).eval()
    found = run(model=other, first=trained_model())
    fitted = done().fitted
    assert found.fitted.calibration == fitted.calibration
    assert found.fitted.smoother == fitted.smoother
    assert found.fitted.thresholds == fitted.thresholds
    scorer = Scorer(other, fitted.calibration)
    for case, scored in zip(make_split("test", 5), found.scored, strict=True):
        np.testing.assert_array_equal(scored.clip_posterior, scorer.score(case.features, case.masks).clip_posterior)
    # Before calibration too it is this model that is measured.
    assert found.metrics["calibration"]["clip"]["nll_before"] != done().metrics["calibration"]["clip"]["nll_before"]
    assert found.metrics["refit"] is True
    assert "refit" not in done().metrics


def test_slices_are_by_group_with_a_gap() -> None:
    slices = done().metrics["slices"]
    assert set(slices) == {"gender"}  # one dataset is no slice
    assert set(slices["gender"]["values"]) == {"female", "male"}
    assert 0 <= slices["gender"]["accuracy_gap"]["value"] <= 1


def test_one_modality_only() -> None:
    test = tuple(without(case, "voice") for case in make_split("test", 2))
    found = fitted_on_few(test=test)
    assert [name for name, _ in found.table] == ["face", "majority"]
    gates = {gate.name: gate for gate in found.gates}
    assert gates["missing_modality_drop"].passed
    assert "contradiction" not in found.metrics


def test_a_class_that_nobody_shows() -> None:
    torch.manual_seed(0)
    spec = ModelSpec(
        modalities=WIDTHS,
        classes=(*CLASSES, "never"),
        absent=("never",),
        model=Model(width=16, heads=2, tcn_blocks=1),
    )
    found = fitted_on_few(model=build_model(spec).eval())
    assert "never" not in found.metrics["per_class"]
    assert max(float(scored.step_posterior[:, 4].max()) for scored in found.scored) == 0


def test_a_model_without_scores_of_single_modalities() -> None:
    torch.manual_seed(0)
    spec = ModelSpec(modalities=WIDTHS, classes=CLASSES, model=Model(preset="paper"))
    found = fitted_on_few(model=build_model(spec).eval())
    assert all(scored.unimodal_posterior == {} for scored in found.scored)
    assert found.fitted.calibration.unimodal == {}
    assert found.metrics["baselines"].keys() == {"majority"}
    assert "contradiction" not in found.metrics
    assert found.metrics["subsets"].keys() == {"face+voice", "face", "voice"}
    assert found.metrics["all_minus"].keys() == {"face", "voice", "majority"}


def test_steps_are_scored_where_clips_have_no_label() -> None:
    test = tuple(replace(case, clip_label=-100) for case in make_split("test", 2))
    found = fitted_on_few(test=test)
    assert found.level == "step"
    assert "clip" not in found.metrics
    assert found.metrics["step"]["items"] == 30 * len(test)
    assert "product_of_experts" not in found.metrics["baselines"]


def test_one_test_person_has_no_interval_and_so_no_promotion() -> None:
    test = tuple(case for case in make_split("test", 2) if case.subject_id == "tiny/test0")
    found = fitted_on_few(test=test)
    assert found.metrics["clip"]["macro_f1"]["low"] is None
    gates = {gate.name: gate for gate in found.gates}
    assert not gates["gain_over_majority"].passed
    assert "two people" in gates["gain_over_majority"].words


def test_an_empty_calibration_split_leaves_the_posteriors_as_they_are() -> None:
    found = fitted_on_few(calibration=())
    assert found.fitted.calibration.clip == found.fitted.calibration.step == 1.0
    figures = found.metrics["calibration"]["clip"]
    assert figures["ece_before"] == figures["ece_after"]


def test_no_label_and_no_clip_are_named() -> None:
    bare = tuple(
        replace(case, clip_label=-100, step_labels=np.full(30, -100, dtype=np.int64)) for case in make_split("test", 2)
    )
    with pytest.raises(DataError, match="no test clip has a label"):
        fitted_on_few(test=bare)
    with pytest.raises(DataError, match="no test clip can be scored"):
        fitted_on_few(test=())


def test_a_calibration_split_far_easier_than_the_test_split_is_noticed() -> None:
    assert not done().metrics["calibration_split"]["far_easier"]
    assert split_in_words(done().metrics) == ""
    rng = np.random.default_rng(0)
    hard = [
        replace(case, features={name: rng.normal(size=x.shape).astype(np.float32) for name, x in case.features.items()})
        for case in make_split("test", 4)
    ]
    figures = fitted_on_few(calibration=make_split("cal", 4), test=hard).metrics
    assert figures["calibration_split"]["far_easier"]
    assert figures["calibration_split"]["minus_test"]["low"] >= 0.1
    words = split_in_words(figures)
    assert words.startswith("The calibration split is far easier than the test split: accuracy ")
    assert "catalog.use_corpus_splits" in words
