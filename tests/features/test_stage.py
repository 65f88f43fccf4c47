from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.config import Features, Params, RayResources
from components.contracts.errors import ConfigError, DataError, UnavailableError
from components.contracts.layout import Layout
from components.contracts.records import ALIGNED_SCHEMA, AlignedClip, Word
from components.datasets import remote
from components.datasets.staged import Staging
from components.features import pieces as pieces_module
from components.features import stage
from components.features import store as store_module
from components.features.encode import EncodingResult
from components.features.passing import results_in
from components.features.pools import ActorPool, ShardEncoder
from components.features.registry import create
from components.features.store import FeatureStore, feature_key
from components.features.work import EncodingTask
from pipelines.stages import call_stage
from tests.builders import make_aligned_clip
from tests.datasets.objects import BUCKET, object_store
from tests.trees import tree_sha256

LIGHT = {"face": "hog", "voice": "signal", "text": "hashing", "physio": "signal"}


def corpus(count: int = 6) -> list[AlignedClip]:
    return [
        make_aligned_clip(f"clip{index}", seed=index, steps=12 + index, content_sha256=f"{index:064x}")
        for index in range(count)
    ]


def align(layout: Layout, clips: list[AlignedClip], *, shards: int = 2) -> None:
    folder = layout.aligned("tiny")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("shard-*"):
        old.unlink()
    for index in range(shards):
        rows = [clip.to_row() for clip in clips[index::shards]]
        pq.write_table(pa.Table.from_pylist(rows, ALIGNED_SCHEMA), folder / f"shard-{index}.parquet", row_group_size=2)


def settings(*, actors: int = 1, **encoders: str) -> Params:
    return Params(
        features=Features(encoders={**LIGHT, **encoders}, batch_clips=2, actors=actors),
        ray=RayResources(num_cpus=2, object_store_mb=128),
    )


def index_of(layout: Layout) -> dict[str, dict[str, object]]:
    rows = pq.read_table(layout.features("tiny") / "index.parquet").to_pylist()
    return {row["clip_id"]: {**row, "keys": dict(row["keys"]), "coverage": dict(row["coverage"])} for row in rows}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, dict[str, Any]]:
    """Three encoded clips and what the stage returned, for tests that only read them or change a copy."""
    layout = Layout(tmp_path_factory.mktemp("encoded"))
    align(layout, corpus(3), shards=1)
    return layout, dict(call_stage("features", settings(), layout, "tiny"))


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_actors_write_what_this_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [*corpus(5), replace(corpus(6)[5], face_jpeg=(b"no picture",) * 17)]
    here, there = Layout(tmp_path / "here"), Layout(tmp_path / "there")
    for layout in (here, there):
        align(layout, clips)
    summary = call_stage("features", settings(), here, "tiny")
    monkeypatch.setattr(stage, "IN_PROCESS_CLIPS", 0)
    monkeypatch.setattr(stage, "IN_PROCESS_SHARDS", 0)
    with pytest.MonkeyPatch.context() as patch:
        # Patched in this process alone: actors write what they encode, and tasks the shards.
        for module in (pieces_module, store_module):
            patch.setattr(module, "write_rows", forbidden)
        assert call_stage("features", settings(actors=2), there, "tiny") == summary
    assert tree_sha256(there.features("tiny")) == tree_sha256(here.features("tiny"))
    assert not there.partial("features", "tiny").exists()
    # An error of the project in an actor comes out as it is, though Ray wraps it.
    with pytest.raises(UnavailableError, match="cannot load this checkpoint"):
        call_stage("features", settings(text=f"transformers:{broken(tmp_path)}"), there, "tiny")


def forbidden(*_: object) -> None:
    raise AssertionError("this process wrote features")


def broken(folder: Path) -> Path:
    """A checkpoint that is located and does not load."""
    place = folder / "broken"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32}))
    (place / "model.safetensors").write_bytes(b"nothing")
    return place


class TestStage:
    def test_every_clip_is_encoded_once(self, tmp_path: Path) -> None:
        layout, clips = Layout(tmp_path), corpus()
        align(layout, clips)
        first = call_stage("features", settings(), layout, "tiny")
        assert first["encoded"] == dict.fromkeys(LIGHT, 6)
        before = tree_sha256(layout.features("tiny"))

        again = call_stage("features", settings(), layout, "tiny")
        assert again["encoded"] == dict.fromkeys(LIGHT, 0)
        assert tree_sha256(layout.features("tiny")) == before

        other = call_stage("features", settings(text="minilm"), layout, "tiny")
        assert other["encoded"] == {"face": 0, "voice": 0, "text": 6, "physio": 0}
        assert other["encoders"]["text"]["width"] == 384

        align(layout, clips[1:], shards=3)
        fewer = call_stage("features", settings(text="minilm"), layout, "tiny")
        assert sum(fewer["encoded"].values()) == 0
        assert list(index_of(layout)) == [clip.clip_id for clip in clips[1:]]
        assert {len(FeatureStore(layout.features("tiny")).keys(modality)) for modality in LIGHT} == {5}

        align(layout, clips)
        back = call_stage("features", settings(), layout, "tiny")
        assert back["encoded"] == {"face": 1, "voice": 1, "text": 6, "physio": 1}
        assert tree_sha256(layout.features("tiny")) == before

    def test_the_store_holds_what_the_encoder_gives(self, encoded: tuple[Layout, dict[str, Any]]) -> None:
        (layout, summary), clips = encoded, corpus(3)
        store, index = FeatureStore(layout.features("tiny")), index_of(layout)
        for modality, spec in LIGHT.items():
            encoder = create(spec, modality, "cpu")
            for clip, expected in zip(clips, encoder.encode(clips), strict=True):
                key = feature_key(clip.content_sha256, clip.alignment_fingerprint, encoder.fingerprint)
                assert index[clip.clip_id]["keys"][modality] == key  # type: ignore[index]
                found = store.read(modality, [key], width=encoder.width)[key]
                np.testing.assert_array_equal(found.values, expected.values)
                np.testing.assert_array_equal(found.valid, expected.valid)
        written = json.loads((layout.features("tiny") / "summary.json").read_text())
        assert written == {name: value for name, value in summary.items() if name != "encoded"}
        assert written["encoders"]["face"]["fingerprint"] == create("hog", "face", "cpu").fingerprint

    def test_words_that_the_encoder_does_not_know_are_missing(self, tmp_path: Path) -> None:
        layout, clips = Layout(tmp_path), corpus(3)
        polish = tuple(
            Word(text=text, start_s=0.2 * at, end_s=0.2 * at + 0.2)
            for at, text in enumerate(["nie", "wiem", "co", "mam", "teraz", "zrobić"])
        )
        clips[1] = replace(clips[1], words=polish)
        align(layout, clips)
        whole = call_stage("features", settings(), layout, "tiny")
        assert "foreign_words" not in whole
        some = call_stage("features", settings(text="hashing?languages=en"), layout, "tiny")
        assert some["foreign_words"] == {"text": {"pl": 1}}
        assert some["clips_with"]["text"] == 2
        assert some["quarantined"] == 0
        index = index_of(layout)
        assert set(index["tiny/clip1"]["keys"]) == {"face", "voice", "physio"}  # type: ignore[call-overload]
        assert index["tiny/clip1"]["coverage"]["text"] == 0.0  # type: ignore[index]
        assert len(FeatureStore(layout.features("tiny")).keys("text")) == 2

    def test_a_bad_clip_costs_itself_and_an_absent_modality_nothing(self, tmp_path: Path) -> None:
        layout, clips = Layout(tmp_path), corpus(4)
        clips[1] = replace(clips[1], face_jpeg=(b"no picture",) * clips[1].grid.num_steps)
        clips[2] = replace(clips[2], masks={**clips[2].masks, "voice": np.zeros(clips[2].grid.num_steps, bool)})
        align(layout, clips)
        summary = call_stage("features", settings(), layout, "tiny")
        index = index_of(layout)
        assert set(index) == {clip.clip_id for clip in clips}
        assert set(index["tiny/clip1"]["keys"]) == {"voice", "text", "physio"}  # type: ignore[call-overload]
        assert set(index["tiny/clip2"]["keys"]) == {"face", "text", "physio"}  # type: ignore[call-overload]
        assert index["tiny/clip2"]["coverage"]["voice"] == 0.0  # type: ignore[index]
        (bad,) = pq.read_table(layout.features("tiny") / "quarantine.parquet").to_pylist()
        assert (bad["clip_id"], bad["stage"], bad["code"], bad["field"]) == (
            "tiny/clip1",
            "features",
            "encoder",
            "face",
        )
        assert "not a picture" in bad["message"]
        assert summary["quarantined"] == 1
        assert summary["clips_with"] == {"face": 3, "voice": 3, "text": 4, "physio": 4}

    def test_an_encoder_that_fails_on_every_clip_stops_the_stage(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        align(layout, [replace(clip, face_jpeg=(b"x",) * clip.grid.num_steps) for clip in corpus(6)])
        with pytest.raises(DataError, match="face encoder failed on every clip"):
            call_stage("features", settings(), layout, "tiny")
        assert not layout.features("tiny").exists()
        # What was encoded before stays, so that mending the cause does not cost it again.
        align(layout, corpus())
        assert call_stage("features", settings(), layout, "tiny")["encoded"] == {
            "face": 6,
            "voice": 0,
            "text": 0,
            "physio": 0,
        }

    def test_a_damaged_shard_is_encoded_again(self, encoded: tuple[Layout, dict[str, Any]], tmp_path: Path) -> None:
        layout = Layout(tmp_path / "copy")
        shutil.copytree(encoded[0].root, layout.root)
        before = tree_sha256(layout.features("tiny"))
        (shard,) = FeatureStore(layout.features("tiny")).shards("voice")
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
        again = call_stage("features", settings(), layout, "tiny")
        assert again["encoded"] == {"face": 0, "voice": 3, "text": 0, "physio": 0}
        assert tree_sha256(layout.features("tiny")) == before

    def test_clips_of_equal_content_share_their_features(self, tmp_path: Path) -> None:
        layout, clips = Layout(tmp_path), corpus(2)
        align(layout, [*clips, replace(clips[0], clip_id="tiny/copy")])
        assert call_stage("features", settings(), layout, "tiny")["encoded"] == dict.fromkeys(LIGHT, 2)
        index = index_of(layout)
        assert index["tiny/copy"]["keys"] == index["tiny/clip0"]["keys"]


class TestInterrupted:
    """Whenever a run dies, the next one finds what is whole, and readers what the index names."""

    def test_between_the_pieces_and_the_output(
        self, encoded: tuple[Layout, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        layout = Layout(tmp_path)
        align(layout, corpus(3), shards=1)
        with monkeypatch.context() as patch:
            patch.setattr(stage, "_commit", died)
            with pytest.raises(KeyboardInterrupt):
                call_stage("features", settings(), layout, "tiny")
        assert not layout.features("tiny").exists()
        pieces = FeatureStore(layout.partial("features", "tiny"))
        (cut,) = pieces.shards("voice")
        cut.write_bytes(cut.read_bytes()[:-1])
        (pieces.folder / "face" / ".half.tmp").write_bytes(b"half")
        again = call_stage("features", settings(), layout, "tiny")
        assert again["encoded"] == {"face": 0, "voice": 3, "text": 0, "physio": 0}
        assert tree_sha256(layout.features("tiny")) == tree_sha256(encoded[0].features("tiny"))
        assert not pieces.folder.exists()

    def test_before_the_index(
        self, encoded: tuple[Layout, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        layout, clips = Layout(tmp_path / "copy"), corpus(4)
        shutil.copytree(encoded[0].root, layout.root)
        old = index_of(layout)
        align(layout, clips[1:], shards=1)  # one goes, one comes
        with monkeypatch.context() as patch:
            patch.setattr(stage, "write_table", all_but("index.parquet", stage.write_table))
            with pytest.raises(KeyboardInterrupt):
                call_stage("features", settings(), layout, "tiny")
        store = FeatureStore(layout.features("tiny"))
        assert index_of(layout) == old
        for row in old.values():
            for modality, key in row["keys"].items():  # type: ignore[attr-defined]
                store.read(modality, [key])
        again = call_stage("features", settings(), layout, "tiny")
        assert again["encoded"] == dict.fromkeys(LIGHT, 0)
        fresh = Layout(tmp_path / "fresh")
        align(fresh, clips[1:], shards=1)
        call_stage("features", settings(), fresh, "tiny")
        assert tree_sha256(layout.features("tiny")) == tree_sha256(fresh.features("tiny"))


def encoded_without_the_project(
    tasks: Sequence[EncodingTask], pools: Sequence[ActorPool], batch_clips: int, staging: Staging
) -> Iterator[EncodingResult]:
    """What Ray's actors would do on a node; here it is seen that they need no folder."""
    assert all(task.shard.startswith("s3://") for task in tasks)
    assert not any(staging.folder.glob("*/*"))
    batch = {"task": np.array([json.dumps(asdict(task)) for task in tasks])}
    for table in ShardEncoder(pools[0], batch_clips, frozenset(), staging)(batch):
        yield from results_in(table)


@pytest.mark.slow
def test_what_actors_put_into_the_store_outlives_the_machine_of_the_stage(
    encoded: tuple[Layout, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    monkeypatch.setattr(stage, "IN_PROCESS_CLIPS", 0)
    monkeypatch.setattr(stage, "connect", lambda _: None)
    monkeypatch.setattr(stage, "encoded_in", encoded_without_the_project)
    layout, store = Layout(tmp_path / "project"), f"s3://{BUCKET}/moods"
    align(layout, corpus(3), shards=1)
    params = settings()
    params = params.model_copy(update={"runtime": params.runtime.model_copy(update={"store": store})})
    with object_store(monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(stage, "_commit", died)
            with pytest.raises(KeyboardInterrupt):
                call_stage("features", params, layout, "tiny")
        shutil.rmtree(layout.state)
        assert call_stage("features", params, layout, "tiny")["encoded"] == dict.fromkeys(LIGHT, 0)
        assert remote.listing(remote.place_of(store, where="test")) == []
    assert tree_sha256(layout.features("tiny")) == tree_sha256(encoded[0].features("tiny"))


def died(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def all_but(name: str, write: Callable[..., None]) -> Callable[..., None]:
    """Writes every file but one, before which the process dies."""

    def written(path: Path, table: pa.Table) -> None:
        if path.name == name:
            died()
        write(path, table)

    return written


def test_an_empty_corpus_has_an_empty_index_without_ray(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.aligned("tiny").mkdir(parents=True)
    assert call_stage("features", settings(), layout, "tiny")["clips"] == 0
    assert index_of(layout) == {}


def test_no_alignment_is_a_clear_word(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no aligned clips.*Run the alignment stage first"):
        call_stage("features", settings(), Layout(tmp_path), "tiny")


def test_an_unknown_encoder_is_named_before_any_work(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    align(layout, corpus(1))
    with pytest.raises(ConfigError, match="Did you mean 'hashing'"):
        call_stage("features", settings(text="hashin"), layout, "tiny")


def bringing(name: str, seed: int, **widths: int) -> AlignedClip:
    """A clip without media that brings features of some widths."""
    rng = np.random.default_rng(seed)
    steps = 4 + seed
    nothing = dict.fromkeys(LIGHT, np.zeros(steps, bool))
    return make_aligned_clip(
        name,
        steps=steps,
        content_sha256=f"{seed:064x}",
        masks={**nothing, **dict.fromkeys(widths, np.ones(steps, bool))},
        given={modality: rng.standard_normal((steps, width)).astype(np.float32) for modality, width in widths.items()},
    )


def test_features_alone_need_neither_ray_nor_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("Ray was started for nothing")

    monkeypatch.setattr(stage, "connect", forbidden)
    layout, clips = Layout(tmp_path), [bringing("a", 1, face=5, gaze=3), bringing("b", 2, gaze=3)]
    align(layout, clips, shards=1)
    # The checkpoint is nowhere; no clip has a voice to encode with it.
    params = settings(face="fer", voice="transformers:nobody/no-such-model")
    summary = call_stage("features", params, layout, "tiny")
    assert summary["encoded"] == {"face": 1, "gaze": 2, "physio": 0, "text": 0}
    assert {name: said["spec"] for name, said in summary["encoders"].items()} == {
        "face": "given:5",
        "gaze": "given:3",
        "physio": "signal",
        "text": "hashing",
    }
    store, index = FeatureStore(layout.features("tiny")), index_of(layout)
    for clip in clips:
        for modality, values in clip.given.items():
            key = index[clip.clip_id]["keys"][modality]  # type: ignore[index]
            assert np.array_equal(store.read(modality, [key])[key].values, values)
    before = tree_sha256(layout.features("tiny"))
    assert sum(call_stage("features", params, layout, "tiny")["encoded"].values()) == 0
    assert tree_sha256(layout.features("tiny")) == before


def test_a_given_modality_that_is_gone_is_dropped(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    align(layout, [bringing("a", 1, gaze=3, pose=2)], shards=1)
    call_stage("features", settings(), layout, "tiny")
    align(layout, [bringing("a", 1, gaze=3)], shards=1)
    call_stage("features", settings(), layout, "tiny")
    assert FeatureStore(layout.features("tiny")).modalities() == ("gaze",)
