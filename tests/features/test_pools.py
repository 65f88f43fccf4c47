"""The actors' own work, without Ray; with it, on a cluster that counts a GPU, in `integration/test_scale.py`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.contracts.codes import Code
from components.contracts.layout import Layout
from components.features.encode import EncodingResult
from components.features.passing import result_rows, results_in, waiting_in, waiting_row
from components.features.pools import ActorPool, ClipEncoder, ShardEncoder, pools
from components.features.registry import create
from components.features.work import plan, read_clips, scan
from tests.features.test_stage import align, corpus

SPECS = {"face": "hog", "voice": "signal", "text": "hashing"}


def pool(*names: str) -> ActorPool:
    return ActorPool(specs={name: SPECS[name] for name in names}, device="cpu", actors=1, num_cpus=1.0, num_gpus=0.0)


def results(tables: list[pa.Table]) -> dict[str, EncodingResult]:
    return {result.key: result for table in tables for result in results_in(table)}


@pytest.fixture
def tasks(tmp_path: Path) -> list[Any]:
    layout = Layout(tmp_path)
    align(layout, corpus(4))
    return plan(scan(layout.aligned("tiny")), {name: name for name in SPECS}, {}, max_clips=2)


def test_what_one_pool_leaves_the_next_one_encodes_and_nothing_is_done_twice(tasks: list[Any]) -> None:
    batch = {"task": np.array([json.dumps(asdict(task)) for task in tasks])}
    alone = results(list(ShardEncoder(pool(*SPECS), 2, frozenset())(batch)))
    first = ShardEncoder(pool("text"), 2, frozenset({"face", "voice"}))
    passed = list(ClipEncoder(pool("face", "voice"))(pa.concat_tables(first(batch))))
    rows = [row for table in passed for row in table.to_pylist()]
    assert len(rows) == len(alone) == 4 * len(SPECS)
    assert not any(row["waiting"] for row in rows)
    assert all(row["result"] for row in rows)
    split = results(passed)
    assert split.keys() == alone.keys()
    for key, expected in alone.items():
        assert split[key].encoded is not None
        assert expected.encoded is not None
        assert (split[key].clip_id, split[key].modality) == (expected.clip_id, expected.modality)
        np.testing.assert_array_equal(split[key].encoded.values, expected.encoded.values)
        np.testing.assert_array_equal(split[key].encoded.valid, expected.encoded.valid)


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
