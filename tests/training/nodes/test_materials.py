from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.catalog.cases import fit_transform
from components.catalog.examples import load_examples, read_catalog
from components.catalog.packed import BYTES_PER_MB, CLIPS, DAMAGED, ROWS, packed_bytes
from components.contracts.config import Runtime, Train
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.datasets import remote
from components.features.base import Encoded
from components.features.store import FeatureStore
from components.runtime.disk_cache import PAGE_BYTES
from components.training.earlier import Earlier, Start
from components.training.job import CHECKPOINTS, Epoch, Job, Trained, fit_here
from components.training.loop import TrainingTask
from components.training.nodes.materials import NodeMaterials, forget, publish
from components.training.samples.source import CatalogItems
from tests.datasets.objects import BUCKET, Bucket, object_store
from tests.model.toys import WIDTHS, toy_spec
from tests.training.catalogs import TINY, write_catalog
from tests.training.earlier import write_earlier

STORE = f"s3://{BUCKET}/project"
PLACE = remote.place_of(STORE, where="store")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with object_store(monkeypatch) as store:
        store.clear()
        yield store


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project with a catalog, the transform of a training, and a version that it starts from, on a machine whose
    folder for what it fetches is the test's own."""
    at_node(monkeypatch, tmp_path / "here")
    layout = Layout(tmp_path / "project")
    write_catalog(layout)
    examples = load_examples(layout, "train")
    fit_transform(examples, WIDTHS, standardise=True, normalise="pooled").save(tmp_path / "transform")
    write_earlier(layout.start, toy_spec())
    return layout


def put(layout: Layout, name: str = "first") -> NodeMaterials:
    transform = layout.root.parent / "transform"
    return publish(layout, f"{STORE}/", name, transform=transform, start=layout.start, datasets=["toy"])


def source(layout: Layout, materials: NodeMaterials | None = None, root: Path | None = None) -> CatalogItems:
    transform = layout.root.parent / "transform"
    return CatalogItems(root=root or layout.root, transform=transform, materials=materials)


def at_node(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What comes next happens on a different machine, as far as its folder of temporary files says."""
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def names(part: str = "") -> list[str]:
    return [item.name for item in remote.listing(PLACE / part)]


def shards() -> list[str]:
    return [name for name in names("features") if "shard-" in name]


@pytest.mark.usefixtures("bucket")
def test_a_node_without_the_project_has_its_clips_and_its_start(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = source(layout)("train")
    materials = put(layout)
    earlier = Earlier.read(layout.start)
    assert earlier is not None
    names_kept = sorted(path.name for path in layout.start.iterdir())
    away = layout.root.rename(tmp_path / "away")
    at_node(monkeypatch, tmp_path / "node")
    travelled: CatalogItems = pickle.loads(pickle.dumps(source(layout, materials)))
    shutil.move(tmp_path / "transform", tmp_path / "transform away")
    items = travelled("train")
    assert [item.clip_id for item in items] == [item.clip_id for item in expected]
    for item, other in zip(items, expected, strict=True):
        for name in WIDTHS:
            np.testing.assert_array_equal(item.features[name], other.features[name])
            np.testing.assert_array_equal(item.masks[name], other.masks[name])
    assert sorted(path.name for path in (materials.bring() / "start").iterdir()) == names_kept
    start = Start(folder=layout.start, modalities=("face",), materials=materials)
    fresh, again = earlier_model(away), earlier_model(away)
    for parameter in again.parameters():
        parameter.data.zero_()
    start.put_into(again)
    expected_weights = dict(fresh.named_parameters())
    carried = {name: value.detach() for name, value in again.named_parameters() if value.abs().sum() > 0}
    assert any("face" in name for name in carried)
    for name, value in carried.items():
        np.testing.assert_array_equal(value, expected_weights[name].detach())


def earlier_model(root: Path):  # type: ignore[no-untyped-def]
    earlier = Earlier.read(Layout(root).start)
    assert earlier is not None
    return earlier.model()


@pytest.mark.usefixtures("bucket")
def test_a_node_keeps_one_training_and_takes_the_packed_clips_over(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = put(layout)
    at_node(monkeypatch, tmp_path / "node")
    source(layout, first)("train")
    (packed,) = Layout(first.bring()).packed.iterdir()
    inode = (packed / "clips.bin").stat().st_ino
    (layout.catalog / "note.txt").write_text("a file more")
    second = put(layout, "second")
    source(layout, second)("train")
    folders = list((tmp_path / "node").glob("mer-node-*/*"))
    assert folders == [second.bring()]
    (packed,) = Layout(second.bring()).packed.iterdir()
    assert (packed / "clips.bin").stat().st_ino == inode


def pages(layout: Layout) -> int:
    """Of the largest clip."""
    clips = load_examples(layout)
    largest = max(sum(one.values.nbytes + one.valid.size + 4 for one in clip.encoded.values()) for clip in clips)
    return -(-largest // PAGE_BYTES)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(("share", "elsewhere"), [(0.0, False), (0.5, False), (2.0, False), (0.5, True)])
def test_a_node_that_may_not_keep_all_clips_reads_the_others_from_the_store(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, elsewhere: bool
) -> None:
    expected = source(layout)("train")
    total_mb = packed_bytes(*read_catalog(layout)) / BYTES_PER_MB
    cache_mb = share * len(expected) * pages(layout) * PAGE_BYTES / BYTES_PER_MB
    transform = layout.root.parent / "transform"
    if elsewhere:  # as `runtime.features` says
        for shard in FeatureStore(layout.features("toy")).folder.rglob("*.parquet"):
            remote.put(shard, PLACE / "elsewhere", f"toy/{shard.parent.name}/{shard.name}")
        shutil.rmtree(layout.features("toy"))
    materials = publish(
        layout,
        STORE,
        "first",
        transform=transform,
        start=None,
        datasets=["toy"],
        address=f"{STORE}/elsewhere" if elsewhere else None,
        cache_mb=min(cache_mb, 0.99 * total_mb),
    )
    assert shards() == []
    layout.root.rename(tmp_path / "away")
    at_node(monkeypatch, tmp_path / "node")
    reads: list[int] = []
    real = remote.ObjectRanges.read

    def counted(self: remote.ObjectRanges, offset: int, size: int) -> bytes:
        reads.append(size)
        return real(self, offset, size)

    monkeypatch.setattr(remote.ObjectRanges, "read", counted)
    travelled = pickle.loads(pickle.dumps(replace(source(layout, materials), cache_mb=cache_mb)))
    items = travelled("train")
    reads.clear()
    rng = np.random.default_rng(0)
    for _ in range(2):  # epochs, in orders of their own
        for place in rng.permutation(len(expected)).tolist():
            item, other = items[place], expected[place]
            assert item.clip_id == other.clip_id
            for name in WIDTHS:
                np.testing.assert_array_equal(item.features[name], other.features[name])
                np.testing.assert_array_equal(item.masks[name], other.masks[name])
            kept = sum(path.stat().st_size for path in Layout(materials.bring()).state.glob("cache/*/*"))
            assert kept <= cache_mb * BYTES_PER_MB
    assert not Layout(materials.bring()).packed.exists()
    assert sum(reads) <= 2 * total_mb * BYTES_PER_MB  # of each clip its bytes, and no more
    assert bool(reads) == (share < 1)


def in_one_object(layout: Layout) -> NodeMaterials:
    transform = layout.root.parent / "transform"
    return publish(layout, STORE, "first", transform=transform, start=None, datasets=["toy"], cache_mb=0)


def trained(
    layout: Layout,
    name: str,
    materials: NodeMaterials,
    after_first: Callable[[], None] = lambda: None,
    cache_mb: float = 0,
) -> Trained:
    """Three epochs, with something that happens after the first one."""
    items = replace(source(layout, materials), cache_mb=cache_mb)
    task = TrainingTask(spec=toy_spec(), train=Train(epochs=3, batch_clips=6), seed=1)

    def on_epoch(epoch: Epoch) -> None:
        if epoch.number == 0:
            after_first()

    folder, runtime = layout.root.parent / name, Runtime(workers=0, checkpoint_minutes=1e6)
    return fit_here(Job(task=task, items=items, inputs_sha256="x"), folder, on_epoch, runtime)


def assert_same(one: Trained, other: Trained) -> None:
    assert one.history == other.history
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, other.weights[name])


@pytest.mark.parametrize("harm", ["one bit", "lost"])
def test_a_training_whose_clips_are_damaged_in_the_store_says_so_and_goes_on_when_they_are_back(
    layout: Layout, tmp_path: Path, bucket: Bucket, harm: str
) -> None:
    materials = in_one_object(layout)
    expected = trained(layout, "whole", materials)
    name = f"project/trainings/first/{CLIPS}"
    content = remote.read(PLACE / "trainings" / "first", CLIPS)

    def damage() -> None:
        if harm == "lost":
            bucket.delete(name)
        else:
            bucket.put(name, bytes([*content[:-1], content[-1] ^ 1]))  # of a clip to train on

    message = {
        "one bit": rf"{STORE}/trainings/first/{CLIPS}: toy/train/0015: {DAMAGED}.*Delete that object and run again",
        "lost": rf"{STORE}/trainings/first/{CLIPS}: the object store failed to answer",
    }
    with pytest.raises(DataError, match=message[harm]):
        trained(layout, "state", materials, damage)
    assert list((tmp_path / "state" / CHECKPOINTS).iterdir())
    if harm == "one bit":
        bucket.delete(name)
    assert in_one_object(layout) == materials  # as the next run does
    assert remote.read(PLACE / "trainings" / "first", CLIPS) == content
    assert_same(trained(layout, "state", materials), expected)


@pytest.mark.usefixtures("bucket")
def test_what_is_damaged_in_a_node_s_cache_is_read_from_the_store_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    materials = in_one_object(layout)
    expected = trained(layout, "without", materials)
    reads: list[int] = []
    real = remote.ObjectRanges.read
    monkeypatch.setattr(
        remote.ObjectRanges, "read", lambda self, offset, size: reads.append(offset) or real(self, offset, size)
    )

    def damage() -> None:
        reads.clear()
        for path in Layout(materials.bring()).state.glob("cache/*/*"):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 4
            path.write_bytes(content)

    assert_same(trained(layout, "with", materials, damage, cache_mb=1), expected)
    assert len(reads) == len(set(reads)) == 2 * TINY.clips  # those to train on and those held out, each once more


@pytest.mark.usefixtures("bucket")
def test_clips_that_are_damaged_on_this_disk_are_not_put_there(layout: Layout) -> None:
    assert in_one_object(layout)
    remote.remove(PLACE / "trainings", "first")
    (folder,) = layout.packed.iterdir()
    content = bytearray((folder / CLIPS).read_bytes())
    content[0] ^= 1
    (folder / CLIPS).write_bytes(content)
    with pytest.raises(DataError, match=rf"{folder / CLIPS}: toy/.*: {DAMAGED}.*Delete the folder"):
        in_one_object(layout)
    assert CLIPS not in names("trainings/first")


@pytest.mark.usefixtures("bucket")
def test_rows_that_are_damaged_on_a_node_are_named(layout: Layout) -> None:
    materials = in_one_object(layout)
    rows = materials.bring() / "packed" / ROWS
    rows.write_bytes(bytes(rows.stat().st_size))
    with pytest.raises(DataError, match=rf"{rows}: .*{DAMAGED}.*Delete {materials.bring()} and run again"):
        trained(layout, "state", materials)


def test_shards_are_put_once_and_what_was_cut_off_is_put_again(
    layout: Layout, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout)
    cut = shards()[0]
    bucket.put(f"project/features/{cut}", b"torn")
    names_put, write = [], remote.put
    monkeypatch.setattr(remote, "put", lambda path, place, name: (names_put.append(name), write(path, place, name)))
    materials = put(layout, "second")
    assert [name for name in names_put if "shard-" in name] == [cut]
    assert len(materials.shards()["toy"]) == len(shards()) == len(WIDTHS)


@pytest.mark.usefixtures("bucket")
def test_shards_that_no_manifest_names_are_not_read(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the next training's features is under way while this one is read."""
    materials = put(layout)
    store = FeatureStore(layout.features("toy"))
    store.write("face", {"0" * 64: Encoded(np.zeros((3, WIDTHS["face"] + 1), np.float32), np.ones(3, bool))})
    with monkeypatch.context() as context:
        context.setattr(remote, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            put(layout, "second")  # all but its manifest
    assert len(shards()) == len(WIDTHS) + 1
    at_node(monkeypatch, tmp_path / "node")
    assert len(source(layout, materials)("train"))  # the shard of a different width would have been refused


@pytest.mark.usefixtures("bucket")
def test_a_training_that_is_done_takes_along_what_nobody_else_reads(layout: Layout) -> None:
    put(layout)
    store = FeatureStore(layout.features("toy"))
    old = store.shards("face")[0]
    content = old.read_bytes()
    old.unlink()
    store.write("face", {"0" * 64: Encoded(np.zeros((3, WIDTHS["face"]), np.float32), np.ones(3, bool))})
    put(layout, "second")
    forget(layout, STORE, "second")
    assert f"toy/face/{old.name}" in shards()  # the first training still reads it
    assert all(name.startswith("trainings/first/") for name in names() if name.startswith("trainings/"))
    forget(layout, STORE, "first")
    assert f"toy/face/{old.name}" not in shards()
    assert shards() == sorted(f"toy/{s.parent.name}/{s.name}" for m in WIDTHS for s in store.shards(m))
    assert not [name for name in names() if name.startswith("trainings/")]
    old.write_bytes(content)


@pytest.mark.parametrize("harm", ["changed", "missing", "shard"])
def test_what_is_not_as_it_was_put_there_is_named(
    layout: Layout, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    materials = put(layout)
    file = "project/trainings/first/files/data/catalog/catalog.json"
    if harm == "changed":
        bucket.put(file, b"{}")
    elif harm == "missing":
        bucket.delete(file)
    else:
        bucket.delete(f"project/features/{shards()[0]}")
    at_node(monkeypatch, tmp_path / "node")
    message = (
        "1 of 3 feature shards are not in the object store" if harm == "shard" else r"catalog\.json.*as it was put"
    )
    with pytest.raises(DataError, match=message):
        source(layout, materials)("train")
    if harm != "shard":
        assert not [path for path in (tmp_path / "node").glob("mer-node-*/*") if path.name.startswith("training-")]


def test_a_damaged_shard_is_not_put_there(layout: Layout, bucket: Bucket) -> None:
    shard = FeatureStore(layout.features("toy")).shards("voice")[0]
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(DataError, match=f"{shard.name}: a feature shard cannot be read"):
        put(layout)
    assert not names("trainings")
    assert bucket is not None


def test_a_store_that_may_not_be_written_is_said_when_a_training_starts(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store(monkeypatch) as bucket:
        for actions in (["ListBucket", "GetObject"], []):
            bucket.permit(monkeypatch, *actions)
            with pytest.raises(DataError, match=rf"{STORE}/.*: the object store denies access.*AWS_ACCESS_KEY_ID"):
                put(layout)


def test_a_store_that_is_away_is_said_when_a_training_starts_and_costs_nothing_at_its_end(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with object_store(monkeypatch):
        put(layout)
    with pytest.raises(DataError, match="the object store failed to answer"):
        put(layout)
    forget(layout, STORE, "first")
    assert "what a training that is done read stays in s3://" in capsys.readouterr().err
