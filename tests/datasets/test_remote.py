"""Corpora in an object store, read from a real S3 server on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.contracts.config import Alignment, FaceAlignment, Params, VoiceAlignment
from components.contracts.errors import ConfigError, DataError
from components.contracts.layout import Layout
from components.contracts.records import Clip, clips_of
from components.datasets import remote
from components.datasets.remote import MIRRORS, Synced
from pipelines import inputs
from pipelines.stages import call_stage
from tests.alignment.media import tone, wav
from tests.datasets.objects import BUCKET, Bucket, object_store
from tests.datasets.tiny_corpora import CORPORA
from tests.trees import tree_sha256

PLACE = MIRRORS / BUCKET / "voices"
PLAIN = Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy"))


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with pytest.MonkeyPatch.context() as monkeypatch, object_store(monkeypatch) as bucket:
        yield bucket


@pytest.fixture
def bucket(server: Bucket) -> Bucket:
    """The server's bucket, empty."""
    server.clear()
    return server


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def synced(fetched: int, kept: int, removed: int = 0) -> Synced:
    return Synced(fetched=fetched, kept=kept, removed=removed, refused=())


def test_only_what_changed_is_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    objects = {"a.wav": b"one", "deep/er/b.wav": b"two", "ümläut 1.wav": b"three"}
    for name, data in objects.items():
        bucket.put(f"voices/{name}", data)
    bucket.put("voices-of-others/c.wav", b"not asked for")
    assert remote.sync(PLACE, tmp_path) == synced(3, 0)
    assert files(tmp_path / PLACE) == objects
    assert remote.sync(PLACE, tmp_path) == synced(0, 3)
    bucket.put("voices/a.wav", b"changed")
    bucket.put("voices/new.wav", b"new")
    bucket.delete("voices/deep/er/b.wav")
    assert remote.sync(PLACE, tmp_path) == synced(2, 1, removed=1)
    assert files(tmp_path / PLACE) == {"a.wav": b"changed", "new.wav": b"new", "ümläut 1.wav": b"three"}
    assert not (tmp_path / PLACE / "deep").exists()


def test_an_interrupted_sync_goes_on_where_it_was(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(6):
        bucket.put(f"voices/{k}.wav", bytes([k]) * 1000)
    monkeypatch.setattr(remote, "THREADS", 1)
    real, seen = remote.fetch, []

    def killed(place: Path, path: Path, one: remote.Object) -> None:
        if len(seen) == 4:
            path.with_name(".half.tmp").write_bytes(b"what a killed process leaves")
            raise KeyboardInterrupt
        seen.append(one.name)
        real(place, path, one)

    monkeypatch.setattr(remote, "fetch", killed)
    with pytest.raises(KeyboardInterrupt):
        remote.sync(PLACE, tmp_path)
    monkeypatch.setattr(remote, "fetch", real)
    assert remote.sync(PLACE, tmp_path) == synced(2, 4, removed=1)
    assert files(tmp_path / PLACE) == {f"{k}.wav": bytes([k]) * 1000 for k in range(6)}


def test_a_name_that_leads_out_of_the_mirror_is_no_file(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("voices/ok.wav", "voices/../../../evil.wav", "voices/x", "voices/x/y.wav"):
        bucket.put_raw(name, b"data")
    done = remote.sync(PLACE, tmp_path)
    assert done.refused == ("../../../evil.wav", "x")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["ok.wav", "y.wav"]


def test_what_has_no_room_is_refused_before_the_first_byte(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("voices/a.wav", bytes(3000))
    monkeypatch.setenv(remote.BUDGET_VARIABLE, str(2000 / remote.GIB))
    with pytest.raises(DataError, match="the corpus is larger than allowed") as caught:
        remote.sync(PLACE, tmp_path)
    assert caught.value.code == "no-room"
    assert not (tmp_path / PLACE).exists()


def test_what_cannot_be_reached_is_named(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no object at this address"):
        remote.sync(PLACE, tmp_path)
    with pytest.raises(DataError, match="no object at this address"):
        remote.sync(MIRRORS / "no-such-bucket" / "x", tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(DataError, match=r"s3://corpora/voices: the object store failed to answer"):
        remote.sync(PLACE, tmp_path)


@pytest.mark.parametrize(
    "uri", ["s3://", "s3:///x", "s3://bucket/../x", "s3://key:secret@bucket/x", "s3://bucket/x?region=y"]
)
def test_an_address_holds_bucket_and_prefix_and_nothing_else(uri: str) -> None:
    with pytest.raises(ConfigError, match="not the address of a bucket"):
        remote.localised({"root": uri}, where="params.yaml: folder")


def table(layout: Layout, name: str) -> list[Clip]:
    return clips_of(pq.read_table(layout.dataset(name) / "clips.parquet"))


def in_store(section: dict[str, Any], folder: str) -> dict[str, Any]:
    """A corpus's section with every place in the bucket."""
    here = lambda value: isinstance(value, str) and (value == folder or value.startswith(f"{folder}/"))  # noqa: E731
    return {key: f"s3://{BUCKET}/{value}" if here(value) else value for key, value in section.items()}


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_corpus_reads_alike_from_a_bucket(bucket: Bucket, tmp_path: Path, name: str) -> None:
    (tmp_path / "corpus").mkdir()
    section = CORPORA[name](tmp_path / "corpus")
    bucket.put_tree(tmp_path / "corpus", "corpus")
    far = Params(datasets=(name,), sources={name: in_store(section, "corpus")})
    assert "s3://" in str(far.sources)
    elsewhere = Layout(tmp_path / "elsewhere")
    elsewhere.root.mkdir()
    call_stage("datasets", far, elsewhere, name)
    call_stage("datasets", Params(datasets=(name,), sources={name: section}), Layout(tmp_path), name)
    assert [at_home(clip) for clip in table(elsewhere, name)] == table(Layout(tmp_path), name)


def at_home(clip: Clip) -> Clip:
    """A clip with its paths as they are without a bucket."""
    mirror = f"{(MIRRORS / BUCKET).as_posix()}/"
    fields = ("video_path", "audio_path", "physio_path", "pictures_path")
    far = {field: getattr(clip, field) for field in fields if getattr(clip, field) is not None}
    # What an adapter converts (WESAD's signals) lies in the project anyway.
    assert all(path.startswith((mirror, "data/")) for path in far.values())
    return replace(clip, **{field: path.removeprefix(mirror) for field, path in far.items()})


def test_a_changed_object_is_an_input_and_a_lost_mirror_costs_only_the_fetching(bucket: Bucket, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "project")
    layout.root.mkdir()
    for person in ("ann", "bob"):
        path = wav(tmp_path / "x.wav", tone(0.5, 16_000, hz=200 if person == "ann" else 300))
        bucket.put(f"voices/anger/{person}/1.wav", path.read_bytes())
    section = {"root": f"s3://{BUCKET}/voices", "licence": "CC0", "consent": "given"}
    params = Params(datasets=("folder",), sources={"folder": section}, alignment=PLAIN)
    inputs.write(params, layout)
    before = (layout.inputs / "folder.json").read_bytes()
    assert not (layout.root / PLACE).exists()  # listed, not fetched
    call_stage("datasets", params, layout, "folder")
    assert call_stage("alignment", params, layout, "folder")["aligned"] == 2
    aligned = tree_sha256(layout.aligned("folder"))
    for path in (layout.root / PLACE).rglob("*.wav"):
        os.unlink(path)
    for path in layout.aligned("folder").iterdir():
        path.unlink()
    assert call_stage("alignment", params, layout, "folder")["aligned"] == 2
    assert tree_sha256(layout.aligned("folder")) == aligned
    inputs.write(params, layout)
    assert (layout.inputs / "folder.json").read_bytes() == before
    bucket.put("voices/anger/bob/2.wav", path_bytes(tmp_path))
    inputs.write(params, layout)
    assert (layout.inputs / "folder.json").read_bytes() != before


def path_bytes(folder: Path) -> bytes:
    return wav(folder / "y.wav", tone(0.6, 16_000)).read_bytes()


def test_a_refusal_is_told_from_a_server_that_is_away() -> None:
    """As Arrow words them, since moto lets everybody in."""
    refusal = "When listing objects under key 'a' in bucket 'b': AWS Error ACCESS_DENIED during ListObjectsV2 operation"
    for seen, what in ((refusal, "denies access.*list the bucket"), ("Couldn't connect", "failed to answer.*network")):
        with pytest.raises(DataError, match=rf"s3://b/a: the object store {what}"), remote._named("b/a"):
            raise OSError(seen)
