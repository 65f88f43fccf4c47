from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.errors import ConfigError, DataError
from components.contracts.layout import Layout
from components.contracts.records import CLIP_SCHEMA, QUARANTINE_SCHEMA, clips_of
from components.datasets import registry
from components.datasets.base import Adapter, Scan, set_aside
from components.datasets.corpora.ravdess import RavdessOptions
from pipelines.stages import call_stage
from tests.builders import make_clip
from tests.trees import tree_sha256

Writer = Callable[[Path], Path]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
GOOD = ("03-01-03-01-01-01-01", "03-01-05-01-01-01-02")


def params(**sources: Any) -> Params:
    return Params(datasets=tuple(sources), sources=sources)


@pytest.fixture
def project(tmp_path: Path, write_wav: Writer) -> Layout:
    for name in GOOD:
        write_wav(tmp_path / "corpus" / f"{name}.wav")
    return Layout(tmp_path)


def test_a_good_corpus_gives_a_hashed_clip_table(project: Layout) -> None:
    summary = call_stage("datasets", params(ravdess={"root": "corpus"}), project, "ravdess")
    folder = project.dataset("ravdess")
    table = pq.read_table(folder / "clips.parquet")
    assert table.schema.equals(CLIP_SCHEMA)
    clips = clips_of(table)
    assert [clip.clip_id for clip in clips] == [f"ravdess/{name}" for name in GOOD]
    assert all(len(clip.content_sha256) == 64 for clip in clips)
    assert not Path(str(clips[0].audio_path)).is_absolute()
    assert summary == read_json(folder / "summary.json")
    assert (summary["clips"], summary["subjects"], summary["quarantined"]) == (2, 2, 0)


def test_running_again_gives_the_same_bytes(project: Layout) -> None:
    call_stage("datasets", params(ravdess={"root": "corpus"}), project, "ravdess")
    first = tree_sha256(project.dataset("ravdess"))
    call_stage("datasets", params(ravdess={"root": "corpus"}), project, "ravdess")
    assert tree_sha256(project.dataset("ravdess")) == first


def test_bad_files_are_set_aside_with_everything_needed_to_mend_them(project: Layout, write_wav: Writer) -> None:
    corpus = project.root / "corpus"
    (corpus / "03-01-04-01-01-01-03.wav").write_bytes(b"")
    (corpus / "03-01-04-01-01-01-04.wav").write_bytes(LFS)
    (corpus / "01-01-04-01-01-01-05.mp4").write_text("not found")
    (corpus / "01-01-04-01-01-01-06.mp4").write_bytes(b"\x00\x00\x00\x10ftypisom\x00\x00\x02\x00" + bytes(2000))
    (corpus / "birthday.mp4").write_text("x")
    write_wav(corpus / "again" / f"{GOOD[0]}.wav")
    summary = call_stage("datasets", params(ravdess={"root": "corpus"}), project, "ravdess")
    assert summary["clips"] == len(GOOD)
    table = pq.read_table(project.dataset("ravdess") / "quarantine.parquet")
    assert table.schema.equals(QUARANTINE_SCHEMA)
    rows = {row["code"]: row for row in table.to_pylist()}
    assert set(rows) == {"empty-file", "lfs-pointer", "not-media", "truncated", "bad-name", "duplicate-id"}
    for row in rows.values():
        assert row["stage"] == "datasets"
        assert row["path"]
        assert row["remedy"]
        assert not Path(row["path"]).is_absolute()
    assert rows["duplicate-id"]["path"] != rows["duplicate-id"]["message"]
    assert summary["quarantine_codes"] == dict.fromkeys(sorted(rows), 1)


def test_outputs_do_not_depend_on_where_the_project_lies(tmp_path: Path, write_wav: Writer) -> None:
    hashes = []
    for place in ("one", "two"):
        layout = Layout(tmp_path / place)
        write_wav(layout.root / "corpus" / f"{GOOD[0]}.wav")
        (layout.root / "corpus" / f"{GOOD[1]}.wav").write_bytes(b"")
        call_stage("datasets", params(ravdess={"root": "corpus"}), layout, "ravdess")
        hashes.append(tree_sha256(layout.dataset("ravdess")))
    assert hashes[0] == hashes[1]


def test_an_empty_corpus_stops_with_a_clear_word(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(DataError, match="not one usable clip; 0 in quarantine") as caught:
        call_stage("datasets", params(ravdess={"root": "corpus"}), Layout(tmp_path), "ravdess")
    assert caught.value.code == "empty-corpus"
    assert caught.value.exit_code == 3


def test_a_corpus_of_bad_files_only_keeps_its_quarantine(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / f"{GOOD[0]}.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 in quarantine.*no bytes"):
        call_stage("datasets", params(ravdess={"root": "corpus"}), Layout(tmp_path), "ravdess")
    assert pq.read_table(Layout(tmp_path).dataset("ravdess") / "quarantine.parquet").num_rows == 1


def test_a_corpus_that_went_bad_leaves_no_stale_clip_table(project: Layout) -> None:
    call_stage("datasets", params(ravdess={"root": "corpus"}), project, "ravdess")
    for name in GOOD:
        (project.root / "corpus" / f"{name}.wav").write_bytes(b"")
    with pytest.raises(DataError):
        call_stage("datasets", params(ravdess={"root": "corpus"}), project, "ravdess")
    assert not (project.dataset("ravdess") / "clips.parquet").exists()


def test_unknown_datasets_and_keys_are_configuration_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'ravdess'"):
        call_stage("datasets", params(ravdess={"root": "x"}), Layout(tmp_path), "ravdes")
    with pytest.raises(ConfigError, match="Did you mean 'root'"):
        call_stage("datasets", params(ravdess={"root": "x", "rooot": "y"}), Layout(tmp_path), "ravdess")


class _Loose(Adapter[RavdessOptions]):
    """An adapter that lets through what the stage must catch."""

    name = "loose"
    licence = "CC0"
    Options = RavdessOptions

    def scan(self, options: RavdessOptions, root: Path, seed: int) -> Scan:
        return Scan(
            clips=[
                make_clip("good", transcript="hello", audio_path="corpus/03-01-03-01-01-01-01.wav"),
                make_clip("mood", emotion="hapiness", audio_path="corpus/03-01-03-01-01-01-01.wav"),
                make_clip("gone", audio_path="corpus/none.wav"),
                make_clip("nothing"),
            ]
        )


def test_the_stage_catches_what_an_adapter_lets_through(project: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ADAPTERS, "loose", _Loose())
    summary = call_stage("datasets", params(loose={"root": "corpus"}), project, "loose")
    assert summary["clips"] == 1
    rows = pq.read_table(project.dataset("loose") / "quarantine.parquet").to_pylist()
    found = {row["clip_id"]: row["code"] for row in rows}
    assert found == {"tiny/mood": "unknown-emotion", "tiny/gone": "missing-file", "tiny/nothing": "no-media"}
    remedy = next(row["remedy"] for row in rows if row["code"] == "unknown-emotion")
    assert remedy.startswith("Did you mean 'happiness'? Map it: `labels: {taxonomy: {CLASS: [hapiness")


def test_a_quarantined_path_below_the_project_is_relative_and_every_name_fits_a_table(
    project: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absolute(_Loose):
        def scan(self, options: RavdessOptions, root: Path, seed: int) -> Scan:
            clips = super().scan(options, root, seed).clips
            row = set_aside("loose", "x\udcff", code="c", message="m", path=str(root / "corpus" / "x.wav"))
            return Scan(clips=[*clips, make_clip(clip_id="tiny/a\udce4", audio_path="corpus/a.wav")], quarantined=[row])

    monkeypatch.setitem(registry.ADAPTERS, "loose", Absolute())
    call_stage("datasets", params(loose={"root": "corpus"}), project, "loose")
    rows = pq.read_table(project.dataset("loose") / "quarantine.parquet").to_pylist()
    assert {row["clip_id"]: row["path"] for row in rows}[r"loose/x\udcff"] == "corpus/x.wav"
    assert {row["clip_id"]: row["code"] for row in rows}[r"tiny/a\udce4"] == "bad-name"
