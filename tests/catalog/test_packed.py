from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.catalog import packed
from components.catalog.cases import fit_transform, prepare, prepare_to_learn
from components.catalog.examples import Example, load_examples
from components.catalog.packed import CHECKSUM, CLIPS, DAMAGED, ROWS, PackedExamples, read_examples
from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.config import Runtime, Train
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.features.store import FeatureStore
from components.training.job import Epoch, Job, Trained, fit_here
from components.training.loop import TrainingTask
from components.training.samples.source import CatalogItems
from tests.datasets.objects import BUCKET, object_store
from tests.model.toys import WIDTHS, toy_spec
from tests.training.catalogs import TINY, write_catalog

SPLITS = ("train", "calibration", "test")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A catalog of two datasets; the second has copies of the first one's clips, with equal keys."""
    layout = Layout(tmp_path)
    write_catalog(layout)
    path = layout.catalog / "catalog.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    for number, row in enumerate(rows):
        if number % 3 == 0:
            row["dataset"] = "other"
    copies = [{**row, "clip_id": f"copy of {row['clip_id']}", "valence": 0.5} for row in rows[:4]]
    write_table(path, pa.Table.from_pylist([*reversed(rows), *copies], schema=table.schema))
    (layout.root / "data/features/other").symlink_to(layout.features("toy"))
    return layout


def folders(layout: Layout) -> list[Path]:
    return list(layout.packed.iterdir())


def flip(path: Path, place: int) -> None:
    """One bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def same(one: Example, other: Example) -> None:
    for name in (field.name for field in fields(Example) if field.name not in ("encoded", "step_labels")):
        assert getattr(one, name) == getattr(other, name), name
    np.testing.assert_array_equal(one.step_labels, other.step_labels)
    assert list(one.encoded) == list(other.encoded)
    for name, encoded in one.encoded.items():
        np.testing.assert_array_equal(encoded.values, other.encoded[name].values)
        np.testing.assert_array_equal(encoded.valid, other.encoded[name].valid)


def test_examples_from_disk_are_those_from_memory(layout: Layout) -> None:
    for splits in (("train",), ("calibration", "train"), SPLITS):
        expected = load_examples(layout, *splits)
        examples = read_examples(layout, *splits, memory_mb=0)
        assert isinstance(examples, PackedExamples)
        assert examples.datasets == ["other", "toy"]
        assert len(examples) == len(expected)
        with ThreadPoolExecutor(4) as threads:
            for one, other in zip(threads.map(examples.__getitem__, range(len(expected))), expected, strict=True):
                same(one, other)
        same(examples[-1], expected[-1])
        assert [example.clip_id for example in examples[3::2]] == [example.clip_id for example in expected[3::2]]
    (kept,) = folders(layout)  # one for all splits
    assert isinstance(read_examples(layout, "train", memory_mb=1), list)
    assert len(read_examples(layout, "no such split", memory_mb=0)) == 0
    assert kept.is_dir()


@pytest.mark.parametrize("normalise", ["dataset", "pooled"])
def test_transform_and_cases_have_the_same_bits(layout: Layout, normalise: str) -> None:
    memory, disk = load_examples(layout, "train"), read_examples(layout, "train", memory_mb=0)
    transform, other = (
        fit_transform(examples, WIDTHS, standardise=True, normalise=normalise) for examples in (memory, disk)
    )
    assert bool(transform.datasets) == (normalise == "dataset")
    for fitted, again in (
        (transform, other),
        *((transform.of_dataset(d), other.of_dataset(d)) for d in ("toy", "other")),
    ):
        for name in WIDTHS:
            np.testing.assert_array_equal(fitted.modalities[name].mean, again.modalities[name].mean)
            np.testing.assert_array_equal(fitted.modalities[name].std, again.modalities[name].std)
    for made in (prepare, prepare_to_learn):
        expected, cases = made(memory, transform, usable=True), made(disk, transform, usable=True)
        assert [case.clip_id for case in cases] == [case.clip_id for case in expected]
        for one, case in zip(expected, cases, strict=True):
            assert (case.pooled is None) == (one.pooled is None)
            for name in WIDTHS:
                np.testing.assert_array_equal(case.features[name], one.features[name])
                np.testing.assert_array_equal(case.masks[name], one.masks[name])


@pytest.mark.parametrize("windows", [False, True])
def test_training_from_disk_has_the_bits_of_training_from_memory(layout: Layout, windows: bool) -> None:
    fit_transform(load_examples(layout, "train"), WIDTHS, standardise=True, normalise="dataset").save(layout.trained)
    task = TrainingTask(
        spec=toy_spec(), train=Train(epochs=1, batch_clips=8, windows=windows, normalise="dataset"), seed=1
    )

    def trained(memory_mb: float):  # type: ignore[no-untyped-def]
        source = CatalogItems(root=layout.root, transform=layout.trained, memory_mb=memory_mb)
        job = Job(task=task, items=source, inputs_sha256="x")
        return fit_here(job, layout.root / f"state-{memory_mb}", lambda _: None, Runtime(workers=0))

    memory, disk = trained(100), trained(0)
    assert disk.history == memory.history
    assert all((value == disk.weights[name]).all() for name, value in memory.weights.items())


@pytest.mark.parametrize("harm", ["cut off", "one bit"])
def test_a_file_that_is_damaged_during_a_training_stops_it_and_it_goes_on_with_a_new_one(
    layout: Layout, harm: str
) -> None:
    """Clip and file are named, the checkpoint before it stays, and the result is that of a training without it."""
    fit_transform(load_examples(layout, "train"), WIDTHS, standardise=True, normalise="pooled").save(layout.trained)
    task = TrainingTask(spec=toy_spec(), train=Train(epochs=3, batch_clips=8), seed=1)
    source = CatalogItems(root=layout.root, transform=layout.trained, memory_mb=0)
    job = Job(task=task, items=source, inputs_sha256="x")

    def trained(name: str, damaged: bool = False) -> Trained:
        def on_epoch(epoch: Epoch) -> None:
            if damaged and epoch.number == 0:
                (folder,) = folders(layout)
                if harm == "cut off":
                    os.truncate(folder / CLIPS, 100)
                else:
                    flip(folder / CLIPS, -1)  # the last clip is one to train on

        return fit_here(job, layout.root / name, on_epoch, Runtime(workers=0, checkpoint_steps=1))

    expected = trained("whole")
    with pytest.raises(DataError, match=rf"{CLIPS}: (copy of )?toy/.*: {DAMAGED}; .*made anew"):
        trained("state", damaged=True)
    for folder in folders(layout):
        shutil.rmtree(folder)
    assert len(job.checkpoints(layout.root / "state", Runtime()).names()) > 0
    again = trained("state")
    assert again.history == expected.history
    assert all((value == again.weights[name]).all() for name, value in expected.weights.items())


def test_examples_from_an_object_store_are_those_of_this_disk(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_examples(layout, "train")
    address = f"s3://{BUCKET}/features"
    with object_store(monkeypatch) as bucket:
        for dataset in ("toy", "other"):
            bucket.put_tree(layout.features("toy"), f"features/{dataset}")
        name = shard(layout).name
        copied = layout.features("toy").rename(layout.root / "copied")
        bucket.put(f"features/toy/voice/{name}", b"torn")
        with pytest.raises(DataError, match=rf"{address}/toy/voice/{name}: a feature shard cannot be read"):
            read_examples(layout, "train", memory_mb=0, address=address)
        bucket.put_tree(copied, "features/toy")
        examples = read_examples(layout, "train", memory_mb=100, address=address)
        assert not list(layout.state.rglob("*.parquet"))  # no shard stays
    for one, other in zip(examples, expected, strict=True):
        same(one, other)
    with pytest.raises(DataError, match=rf"{address}/.*: the object store failed to answer"):
        read_examples(layout, "train", memory_mb=0, address=address)


def shard(layout: Layout) -> Path:
    return FeatureStore(layout.features("toy")).shards("voice")[0]


def test_a_vanished_shard_is_said_with_a_clip_and_the_files_that_are_there_and_leaves_nothing(layout: Layout) -> None:
    whole = shard(layout)
    items = list(FeatureStore(layout.features("toy")).scan("voice"))
    whole.unlink()
    missing = r"toy/.*: voice: \d+ of \d+ keys are not in the feature store; seen '[0-9a-f]{64}; "
    folder, remedy = layout.features("toy") / "voice", "dvc checkout.*features stage"
    with pytest.raises(DataError, match=rf"{missing}{folder} has 0 files'.*{remedy}"):
        read_examples(layout, "train", memory_mb=0)
    parts = FeatureStore(layout.root / "parts")
    for item in items[:-1]:
        parts.write("voice", dict([item]))
    for part in parts.shards("voice"):
        part.rename(folder / part.name)
    shown = rf"has {len(items) - 1} files: (shard-\S+ ){{4}}and {len(items) - 5} more'.*{remedy}"
    with pytest.raises(DataError, match=rf"{missing}{folder.parent.parent}/(toy|other)/voice {shown}"):
        read_examples(layout, "train", memory_mb=0)
    assert folders(layout) == []


@pytest.mark.parametrize("memory_mb", [0, 100])
def test_a_damaged_shard_is_named(layout: Layout, memory_mb: float) -> None:
    """Also one flipped bit, which Parquet does not notice, after it was whole a moment ago."""
    assert len(read_examples(layout, "train", memory_mb=memory_mb))
    shutil.rmtree(layout.packed, ignore_errors=True)
    content = bytearray(shard(layout).read_bytes())
    content[len(content) // 2] ^= 1
    shard(layout).write_bytes(content)
    with pytest.raises(DataError, match=rf"{shard(layout).name}: a feature shard cannot be read"):
        read_examples(layout, "train", memory_mb=memory_mb)


def test_what_is_written_piece_by_piece_is_the_same(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, bytes(data)[:100], offset))
    for one, other in zip(read_examples(layout, *SPLITS, memory_mb=0), load_examples(layout), strict=True):
        same(one, other)


def test_features_of_another_length_or_width_are_refused(layout: Layout) -> None:
    path = layout.catalog / "catalog.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row["num_steps"] += row["clip_id"] == "toy/train/0003"
    write_table(path, pa.Table.from_pylist(rows, schema=pq.read_schema(path)))
    with pytest.raises(DataError, match=r"toy/train/0003: .*do not fit the clip's grid"):
        read_examples(layout, "train", memory_mb=0)
    catalog = read_json(layout.catalog / "catalog.json")
    catalog["encoders"]["face"]["width"] += 1
    write_json(layout.catalog / "catalog.json", catalog)
    with pytest.raises(DataError, match="features have a different width"):
        read_examples(layout, "train", memory_mb=0)


def test_every_byte_counts(layout: Layout) -> None:
    """Of values, validity and padding alike, and of the rows with the labels; a file of zeros does not count."""
    read_examples(layout, "train", memory_mb=0)
    (folder,) = folders(layout)
    clips = folder / CLIPS
    for place in range(0, clips.stat().st_size, 397):
        flip(clips, place)
        with pytest.raises(DataError, match=rf"{CLIPS}: .*{DAMAGED}"):
            list(read_examples(layout, *SPLITS, memory_mb=0))
        flip(clips, place)
    assert list(read_examples(layout, *SPLITS, memory_mb=0))
    for name in (ROWS, CHECKSUM):
        content = (folder / name).read_bytes()
        flip(folder / name, len(content) // 2)
        with pytest.raises(DataError, match=rf"{ROWS}: its checksum: {DAMAGED}.*Delete the folder"):
            read_examples(layout, "train", memory_mb=0)
        (folder / name).write_bytes(bytes(len(content)))
        with pytest.raises(DataError, match=DAMAGED):
            read_examples(layout, "train", memory_mb=0)
        (folder / name).write_bytes(content)
    clips.write_bytes(bytes(clips.stat().st_size))
    with pytest.raises(DataError, match=rf"{CLIPS}: .*{DAMAGED}"):
        list(read_examples(layout, "train", memory_mb=0))


def test_a_disk_that_cannot_read_is_said_with_clip_and_file(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = read_examples(layout, "train", memory_mb=0)

    def failing(*_: object) -> bytes:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(DataError, match=rf"{CLIPS}: (copy of )?toy/.*: cannot read packed clips; seen .*Input/output"):
        list(examples)


def test_a_folder_of_a_different_format_is_not_read(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    read_examples(layout, "train", memory_mb=0)
    (before,) = folders(layout)
    monkeypatch.setattr(packed, "FORMAT", packed.FORMAT + 1)
    assert list(read_examples(layout, "train", memory_mb=0))
    (after,) = folders(layout)
    assert after != before


def test_a_file_that_was_cut_off_is_said_and_another_catalog_makes_it_anew(layout: Layout) -> None:
    examples = read_examples(layout, "train", memory_mb=0)
    (before,) = folders(layout)
    os.truncate(before / CLIPS, 100)
    with pytest.raises(DataError, match=rf"{CLIPS}: .*: {DAMAGED}; .*Delete the folder"):
        list(examples)
    catalog = read_json(layout.catalog / "catalog.json")
    write_json(layout.catalog / "catalog.json", {**catalog, "sha256": "0" * 64})
    assert len(list(read_examples(layout, "train", memory_mb=0))) == TINY.clips
    (after,) = folders(layout)
    assert after != before
