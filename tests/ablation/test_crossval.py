from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.ablation import crossval
from components.ablation.answers import ADAPTED, ALL
from components.ablation.crossval import (
    CALIBRATION,
    CatalogClips,
    Unit,
    frequencies,
    levels,
    load_corpus,
    prepare_fold,
    run_unit,
    unit_fingerprint,
)
from components.ablation.folds import make_folds
from components.catalog.examples import Example
from components.contracts.config import Params, Runtime
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.features.base import Encoded
from components.training.job import Epoch, Job, Trained, fit_here
from tests.model.toys import Toy
from tests.training.catalogs import tiny_params, write_catalog

TOY = Toy(clips=24, steps=(8, 12), noise=0.3, subjects=4, bits=1, missing=0.2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> CatalogClips:
    root = tmp_path_factory.mktemp("crossval")
    write_catalog(Layout(root), TOY)
    return load_corpus(root)


def unit(
    corpus: CatalogClips,
    *,
    fold: int = 0,
    seed: int = 0,
    modalities: tuple[str, ...] = ("face", "text", "voice"),
    **train,
) -> Unit:  # type: ignore[no-untyped-def]
    params = tiny_params("sqlite://", "none", **{"epochs": 8, **train})
    return Unit(params=params, modalities=modalities, fold=make_folds(corpus.clips, 3, 7)[fold], seed=seed)


def test_a_unit_learns_on_its_fold_and_answers_the_others_alike_every_time(corpus: CatalogClips) -> None:
    one = unit(corpus)
    result = run_unit(one, corpus)
    again = run_unit(one, corpus)
    answers = result.answers["test", "clip"]
    assert answers.clips == tuple(one.fold.ids("test"))
    # By this a withdrawal finds the results that know a person.
    assert result.facts["learned_from"] == list(one.fold.ids("train"))
    assert answers.truth.tolist() == [corpus.examples[clip_id].clip_label for clip_id in answers.clips]
    accuracy = (answers.posterior[ALL].argmax(-1) == answers.truth).mean()
    assert accuracy > 0.8
    for name, values in answers.posterior.items():
        np.testing.assert_array_equal(values, again.answers["test", "clip"].posterior[name])
    other = run_unit(replace(one, seed=1), corpus).answers["test", "clip"].posterior[ALL]
    assert not np.array_equal(other, answers.posterior[ALL])


def test_a_unit_that_is_trained_again_learns_from_the_calibration_people_and_keeps_the_first_calibration(
    corpus: CatalogClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[list[str]] = []

    def watched(job: Job, folder: Path, on_epoch: Callable[[Epoch], None], runtime: Runtime) -> Trained:
        learned.append([case.clip_id for case in job.training()])
        return fit_here(job, folder, on_epoch, runtime)

    monkeypatch.setattr(crossval, "fit_here", watched)
    one = unit(corpus)
    again = unit(corpus, refit=True)
    plain, refitted = run_unit(one, corpus), run_unit(again, corpus)
    train, calibration, test = (one.fold.ids(split) for split in ("train", "calibration", "test"))
    assert learned == [train, train, sorted([*train, *calibration])]
    assert set(calibration) <= set(learned[-1])
    assert not set(test) & set(learned[-1])
    assert refitted.facts["learned_from"] == learned[-1]
    # What was fitted on the calibration people, and the answers that it was fitted on, are of the model that had not
    # seen them; the test people are answered by the other one.
    assert refitted.facts[CALIBRATION] == plain.facts[CALIBRATION]
    for split, same in (("calibration", True), ("test", False)):
        first, second = (result.answers[split, "clip"] for result in (plain, refitted))
        assert first.clips == second.clips
        for name in first.posterior:
            assert np.array_equal(first.posterior[name], second.posterior[name], equal_nan=True) == same, (split, name)
    # With the first result given it is not trained anew, and the outcome is the same.
    given = run_unit(again, corpus, plain)
    assert len(learned) == 4
    for name, values in refitted.answers["test", "clip"].posterior.items():
        np.testing.assert_array_equal(values, given.answers["test", "clip"].posterior[name])


def test_a_modality_alone_answers_every_clip_with_the_prior_where_it_is_absent(corpus: CatalogClips) -> None:
    one = unit(corpus, modalities=("face",))
    result = run_unit(one, corpus)
    answers = result.answers["test", "clip"]
    absent = np.array(["face" not in corpus.examples[clip_id].encoded for clip_id in answers.clips])
    assert answers.clips == tuple(one.fold.ids("test"))
    assert absent.any()
    assert (answers.posterior[ALL][absent] == result.prior["clip"]).all()
    assert np.isnan(answers.posterior["face"]).any(-1).tolist() == absent.tolist()
    assert ((answers.posterior[ALL].argmax(-1) == answers.truth)[~absent]).mean() > 0.8
    with pytest.raises(DataError, match="no training clip has one of these modalities"):
        run_unit(unit(corpus, modalities=("physio",)), corpus)


def test_the_transform_is_of_the_folds_own_training_clips(corpus: CatalogClips) -> None:
    folds = make_folds(corpus.clips, 3, 7)
    (_, first), (cases, second) = prepare_fold(folds[0], corpus), prepare_fold(folds[1], corpus)
    assert not np.array_equal(first.modalities["face"].mean, second.modalities["face"].mean)
    stacked = np.concatenate([case.features["face"][case.masks["face"]] for case in cases["train"]])
    assert stacked.mean(0) == pytest.approx(0, abs=1e-4)
    for case in cases["test"]:
        assert (case.step_labels[~case.valid] == -100).all()


def test_the_fingerprint_covers_what_matters_and_nothing_else(corpus: CatalogClips) -> None:
    one = unit(corpus)
    running = one.params.model_copy(update={"runtime": Runtime(workers=4, checkpoint_steps=5)})
    same = [unit(corpus), replace(one, params=running)]
    other = [
        unit(corpus, fold=1),
        unit(corpus, seed=1),
        unit(corpus, epochs=9),
        unit(corpus, modalities=("face",)),
        unit(corpus, refit=True),
        replace(one, params=one.params.model_copy(update={"model": Params().model})),
    ]
    known = unit_fingerprint(one, corpus)
    assert {unit_fingerprint(two, corpus) for two in same} == {known}
    assert len({unit_fingerprint(two, corpus) for two in other} | {known}) == 7
    assert unit_fingerprint(unit(corpus, refit=True).first, corpus) == known
    assert one.first == one
    relabelled = [{**row, "label": "class1"} for row in corpus.rows]
    assert unit_fingerprint(one, replace(corpus, rows=relabelled)) != known
    # The split that the catalog happens to have for a clip does not matter: it is dealt anew.
    moved = [{**row, "split": "test"} for row in corpus.rows]
    assert unit_fingerprint(one, replace(corpus, rows=moved)) == known


def test_levels_are_what_is_labelled(corpus: CatalogClips) -> None:
    span = {"start_s": 0.0, "end_s": 1.0, "label": "class0"}
    assert levels(corpus.rows) == ("clip",)
    assert levels([{**row, "segments": [span]} for row in corpus.rows]) == ("clip", "step")
    assert levels([{**row, "segments": [span], "label": None} for row in corpus.rows]) == ("step",)
    assert levels([]) == ()


def test_frequencies_are_even_where_nothing_is_labelled() -> None:
    assert frequencies([], "clip", 4).tolist() == [0.25] * 4


def test_without_a_catalog_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mer run --stage catalog"):
        load_corpus(tmp_path)


def test_a_fold_by_dataset_is_answered_as_unknown_and_as_adapted_without_labels(corpus: CatalogClips) -> None:
    people = sorted({row["subject_id"] for row in corpus.rows})
    dataset = {person: f"toy{number % 2}" for number, person in enumerate(people)}
    two = replace(
        corpus,
        rows=[{**row, "dataset": dataset[row["subject_id"]]} for row in corpus.rows],
        # The second one was recorded by a device that moves and stretches everything.
        examples={clip: moved(example, dataset[example.subject_id]) for clip, example in corpus.examples.items()},
    )
    fold = make_folds(two.clips, "dataset", 0)[1]
    one = replace(unit(corpus, epochs=4, normalise="dataset"), fold=fold)
    result = run_unit(one, two)
    unknown, adapted = (result.answers[split, "clip"] for split in ("test", ADAPTED))
    assert unknown.clips == adapted.clips == tuple(fold.ids("test"))
    right = [(own.posterior[ALL].argmax(-1) == own.truth).mean() for own in (unknown, adapted)]
    assert right[1] > right[0]
    # No label of the tested dataset is used: with others the answers are the same.
    turned = {clip: replace(example, clip_label=0) for clip, example in two.examples.items() if clip in unknown.clips}
    blind = run_unit(one, replace(two, examples={**two.examples, **turned}))
    np.testing.assert_array_equal(blind.answers[ADAPTED, "clip"].posterior[ALL], adapted.posterior[ALL])
    assert unit_fingerprint(one, two) != unit_fingerprint(replace(one, fold=replace(fold, adapts=False)), two)


def moved(example: Example, dataset: str) -> Example:
    scale, shift = (4.0, 10.0) if dataset == "toy1" else (1.0, 0.0)
    encoded = {
        name: Encoded(item.values * np.float32(scale) + np.float32(shift) * item.valid[:, None], item.valid)
        for name, item in example.encoded.items()
    }
    return replace(example, dataset=dataset, encoded=encoded)
