from __future__ import annotations

import pickle
import platform
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from components.catalog.cases import fit_transform, prepare, prepare_to_learn
from components.catalog.examples import Example, load_examples
from components.catalog.packed import PackedFile
from components.contracts.config import Model, Runtime, Train
from components.contracts.errors import DataError
from components.contracts.labels import UNLABELLED
from components.contracts.layout import Layout
from components.features.transform import Transform
from components.training.loop import new_learner, train_steps
from components.training.prepare import Materials
from components.training.samples.source import CatalogItems
from tests.model.toys import WIDTHS
from tests.training.catalogs import TINY, write_catalog


def test_items_are_the_transformed_examples_and_the_source_travels(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    examples = load_examples(layout, "train")
    transform = Transform.fit((example.encoded for example in examples), WIDTHS)
    transform.save(tmp_path / "transform")
    source = pickle.loads(pickle.dumps(CatalogItems(root=tmp_path, transform=tmp_path / "transform")))
    items = source("train")
    originals = TINY.items("train")
    assert [item.clip_id for item in items] == [item.clip_id for item in originals]
    for name in WIDTHS:
        rows = np.concatenate([item.features[name][item.masks[name]] for item in items])
        assert np.allclose(rows.mean(0), 0, atol=1e-4)
        assert np.allclose(rows.std(0), 1, atol=1e-3)
        assert all((a.masks[name] == b.masks[name]).all() for a, b in zip(items, originals, strict=True))
    # Subjects of another split were not looked at for the fit, so their mean is not zero.
    held_out = source("calibration")
    rows = np.concatenate([item.features["face"][item.masks["face"]] for item in held_out])
    assert not np.allclose(rows.mean(0), 0, atol=1e-4)


def test_a_second_training_takes_the_calibration_clips_and_never_the_test_clips(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    transform = Transform.fit((example.encoded for example in load_examples(layout, "train")), WIDTHS)
    transform.save(tmp_path / "transform")
    first = CatalogItems(root=tmp_path, transform=tmp_path / "transform")
    again = CatalogItems(root=tmp_path, transform=tmp_path / "transform", refit=True)
    ids = {split: [item.clip_id for item in first(split)] for split in ("train", "calibration", "test")}
    learned = [item.clip_id for item in again("train")]
    assert learned == sorted([*ids["train"], *ids["calibration"]])
    assert not set(learned) & set(ids["test"])
    assert again("calibration") == []
    # The features are those of the first training: one transform serves both.
    same = {item.clip_id: item for item in again("train")}
    for item in first("train"):
        assert all((item.features[name] == same[item.clip_id].features[name]).all() for name in WIDTHS)


def test_steps_without_any_modality_are_unlabelled_and_useless_clips_are_left_out(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    examples = load_examples(layout, "train")
    transform = Transform.fit((example.encoded for example in examples), {"voice": WIDTHS["voice"], **WIDTHS})
    face_only = Transform(modalities={"face": transform.modalities["face"]})
    items = prepare(examples, face_only)
    without_face = sum("face" not in example.encoded for example in examples)
    assert without_face
    assert len(items) == len(examples) - without_face
    for example in examples:
        observed = np.logical_or.reduce([one.valid for one in example.encoded.values()])
        assert ((example.step_labels == UNLABELLED) == ~observed).all()


def test_the_clips_to_learn_from_have_the_statistics_of_their_dataset_and_the_held_out_ones_those_of_all(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    learned = [replace(one, dataset=f"toy{n % 2}") for n, one in enumerate(load_examples(layout, "train"))]
    transform = fit_transform(learned, WIDTHS, standardise=True, normalise="dataset")
    assert set(transform.datasets) == {"toy0", "toy1"}
    pooled = prepare(learned, transform)
    for case, plain in zip(prepare_to_learn(learned, transform), pooled, strict=True):
        assert case.pooled is not None
        for name in WIDTHS:
            np.testing.assert_array_equal(case.pooled[name], plain.features[name])
            assert case.masks[name].any() == (not np.array_equal(case.features[name], plain.features[name]))
    transform = fit_transform(learned, WIDTHS, standardise=True, normalise="pooled")
    assert all(case.pooled is None for case in prepare_to_learn(learned, transform))


def test_a_machine_without_the_project_is_named(tmp_path: Path) -> None:
    source = CatalogItems(root=tmp_path / "absent", transform=tmp_path)
    with pytest.raises(DataError, match=rf"{platform.node()}: .*absent: this machine does not have the project"):
        source("train")


def test_clips_on_disk_are_read_once_by_a_worker_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver has told it which are usable, and their labels; it only standardises the statistics of clips."""
    layout = Layout(tmp_path)
    write_catalog(layout)
    model = Model(width=16, heads=2, tcn_blocks=2)
    train = Train(epochs=2, batch_clips=6, dataset_power=0.5, class_power=0.5, like_length_batches=2)
    read, make = (partial(call, model=model, train=train, seed=1) for call in (Materials.read, Materials.job))
    reads: list[str] = []
    real = PackedFile.example

    def counted(self: PackedFile, place: int) -> Example:
        example = real(self, place)
        reads.append(example.clip_id)
        return example

    monkeypatch.setattr(PackedFile, "example", counted)
    on_disk, in_memory = (Runtime(workers=2, clips_mb=size) for size in (0, 100))
    job, clips = make(read(layout, runtime=on_disk), layout, layout.state, runtime=on_disk)
    trained_on, held_out = ({item.clip_id for item in TINY.items(split)} for split in ("train", "calibration"))
    counts = Counter(reads)
    first = min(trained_on)  # whose rate is that of all
    assert {counts[name] for name in trained_on - {first}} == {2}
    assert counts[first] <= 4
    assert {counts[name] for name in held_out} == {1}
    reads.clear()
    job = pickle.loads(pickle.dumps(job))
    training, held = job.training(), job.items("calibration")
    assert reads == []
    learner = new_learner(job.task, training)
    steps = train_steps(learner, job.task, training, ahead=0)
    assert set(Counter(reads).values()) == {1}
    assert len(reads) == len(training) == clips
    reads.clear()
    next(steps)
    assert len(reads) == train.batch_clips

    memory, _ = make(read(layout, runtime=in_memory), layout, layout.state, runtime=in_memory)
    assert memory.task.spec == job.task.spec
    assert [case.clip_id for case in held] == [case.clip_id for case in memory.items("calibration")]
    other = new_learner(memory.task, memory.training())
    next(train_steps(other, memory.task, memory.training(), ahead=0))
    for name, value in learner.parameters.items():
        np.testing.assert_array_equal(value.detach(), other.parameters[name].detach())
