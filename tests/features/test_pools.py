"""The actors' own work, without Ray; with it, on a cluster that counts a GPU, in `integration/test_scale.py`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.datasets.staged import Staging
from components.features.encode import EncodingResult
from components.features.passing import RESULT, result_rows, results_in, waiting_in, waiting_row
from components.features.pools import ActorPool, ClipEncoder, ShardEncoder, pools
from components.features.registry import create
from components.features.store import FeatureStore
from components.features.work import plan, read_clips, scan
from tests.datasets.objects import BUCKET, object_store
from tests.features.test_stage import align, corpus
from tests.trees import tree_sha256

SPECS = {"face": "hog", "voice": "signal", "text": "hashing"}


def pool(*names: str) -> ActorPool:
    return ActorPool(specs={name: SPECS[name] for name in names}, device="cpu", actors=1, num_cpus=1.0, num_gpus=0.0)


def receipts(tables: list[pa.Table]) -> list[tuple[str, str, str]]:
    """(clip, modality, key) of what is stored."""
    found = [result for table in tables for result in results_in(table)]
    assert all(result.code is None and result.encoded is None for result in found)
    return sorted((result.clip_id, result.modality, result.key) for result in found)


def staging(folder: Path) -> Staging:
    made = Staging.of(folder, store=None, stage="features", name="tiny")
    made.prepare()
    return made


@pytest.fixture
def tasks(tmp_path: Path) -> list[Any]:
    layout = Layout(tmp_path)
    align(layout, corpus(4))
    return plan(scan(layout.aligned("tiny")), {name: name for name in SPECS}, {}, max_clips=2)


def batch_of(tasks: list[Any]) -> dict[str, Any]:
    return {"task": np.array([json.dumps(asdict(task)) for task in tasks])}


def test_what_one_pool_leaves_the_next_one_encodes_and_nothing_is_done_twice(tasks: list[Any], tmp_path: Path) -> None:
    one, two = staging(tmp_path / "one"), staging(tmp_path / "two")
    alone = list(ShardEncoder(pool(*SPECS), 2, frozenset(), one)(batch_of(tasks)))
    first = ShardEncoder(pool("text"), 2, frozenset({"face", "voice"}), two)
    passed = list(ClipEncoder(pool("face", "voice"), two)(pa.concat_tables(first(batch_of(tasks)))))
    rows = [row for table in passed for row in table.to_pylist()]
    assert len(rows) == 4 * len(SPECS)
    assert not any(row["waiting"] for row in rows)
    assert all(row["result"] for row in rows)
    assert receipts(passed) == receipts(alone)
    stores = FeatureStore(one.folder), FeatureStore(two.folder)
    for _, modality, key in receipts(alone):
        expected, split = (store.read(modality, [key])[key] for store in stores)
        np.testing.assert_array_equal(split.values, expected.values)
        np.testing.assert_array_equal(split.valid, expected.valid)


def test_a_task_that_is_done_again_leaves_the_same_files(tasks: list[Any], tmp_path: Path) -> None:
    place = staging(tmp_path / "place")
    encoder = ShardEncoder(pool(*SPECS), 2, frozenset(), place)
    begun = encoder(batch_of(tasks))
    next(begun)
    begun.close()  # as when its actor is lost: what it has told nobody of
    assert receipts(list(encoder(batch_of(tasks))))
    before = tree_sha256(place.folder)
    list(encoder(batch_of(tasks)))
    assert tree_sha256(place.folder) == before


def test_only_words_leave_an_actor_for_the_process_that_runs_the_stage(tasks: list[Any], tmp_path: Path) -> None:
    tables = list(ShardEncoder(pool(*SPECS), 2, frozenset(), staging(tmp_path / "place"))(batch_of(tasks)))
    assert {RESULT.field(place).type for place in range(RESULT.num_fields)} == {pa.string()}
    features = FeatureStore(tmp_path / "place").read(
        "voice", [key for _, kind, key in receipts(tables) if kind == "voice"]
    )
    assert sum(table.nbytes for table in tables) < sum(item.values.nbytes for item in features.values())


def test_a_node_without_the_folder_says_so(tasks: list[Any], tmp_path: Path) -> None:
    nowhere = Staging(folder=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"does not have the project.*runtime\.store"):
        list(ShardEncoder(pool(*SPECS), 2, frozenset(), nowhere)(batch_of(tasks)))
    assert not nowhere.folder.exists()


def test_actors_read_and_write_an_object_store_as_they_do_a_folder(
    tasks: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = staging(tmp_path / "here")
    expected = receipts(list(ShardEncoder(pool(*SPECS), 2, frozenset(), here)(batch_of(tasks))))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with object_store(monkeypatch):
        there = Staging.of(tmp_path / "there", store=f"s3://{BUCKET}/moods/", stage="features", name="tiny")
        lent = there.lend({Path(task.shard) for task in tasks})
        aligned = {Path(task.shard) for task in tasks}
        moved = [replace(task, shard=lent[Path(task.shard)]) for task in tasks]
        for path in aligned:
            path.unlink()  # nothing but the store has them
        assert receipts(list(ShardEncoder(pool(*SPECS), 2, frozenset(), there)(batch_of(moved)))) == expected
        assert not there.folder.exists()
        there.prepare()
        there.bring()
        assert tree_sha256(there.folder) == tree_sha256(here.folder)
        there.bring()
        there.clear()
        there.prepare()
        there.bring()
        assert list(there.folder.iterdir()) == []
        with pytest.raises(DataError, match="object store"):
            list(ShardEncoder(pool(*SPECS), 2, frozenset(), there)(batch_of(moved)))


def test_a_clip_that_waits_arrives_as_it_was(tasks: list[Any]) -> None:
    clips = [clip for task in tasks for batch in read_clips(task, batch_clips=8) for clip, _ in batch]
    tables = [waiting_row(clip, {"voice": "b" * 64, "face": "a" * 64}) for clip in clips]
    arrived = waiting_in(pa.concat_tables(tables))
    assert [keys for _, keys in arrived] == [{"face": "a" * 64, "voice": "b" * 64}] * len(clips)
    assert [clip.to_row() for clip, _ in arrived] == [clip.to_row() for clip in clips]
    assert list(results_in(pa.concat_tables(tables))) == []


def test_what_could_not_be_encoded_passes_with_its_reason() -> None:
    failed = EncodingResult(clip_id="tiny/a", modality="face", key="k", code=Code.ENCODER, message="no")
    assert list(results_in(result_rows([failed]))) == [failed]


def test_only_checkpoints_on_a_gpu_have_actors_of_their_own() -> None:
    specs = {"face": "transformers:somewhere", "voice": "signal"}
    assert pools(specs, 3, "cpu") == (ActorPool(specs=specs, device="cpu", actors=3, num_cpus=1.0, num_gpus=0.0),)
    assert pools({"voice": "signal"}, 3, "cuda") == (
        ActorPool(specs={"voice": "signal"}, device="cpu", actors=3, num_cpus=1.0, num_gpus=0.0),
    )
    assert create("signal", "voice", "cpu").fingerprint == create("signal", "voice", "cuda").fingerprint
