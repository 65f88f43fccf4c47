from __future__ import annotations

import os
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.alignment.streams import read_media
from components.contracts.config import Params
from components.contracts.errors import DataError, MediaError
from components.contracts.labels import taxonomy
from components.contracts.layout import Layout
from components.contracts.records import Clip
from components.datasets import registry
from components.datasets.check import Findings, check
from components.datasets.withdrawn import Withdrawal, record
from pipelines.stages import call_stage
from tests.datasets.tiny_corpora import CORPORA, speech, talking

ABAW8 = taxonomy("abaw8")


def checked(name: str, section: dict[str, Any], root: Path, withdrawn: tuple[Withdrawal, ...] = ()) -> Findings:
    adapter = registry.adapter(name)
    scratch = root.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return check(adapter, adapter.options(section), root=root, scratch=scratch, seed=7, withdrawn=withdrawn)


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "corpus").mkdir(parents=True)
    return tmp_path / "project"


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_it_foretells_what_the_stage_does_and_writes_nothing(name: str, project: Path) -> None:
    section = CORPORA[name](project / "corpus")
    before = files(project)
    told = checked(name, section, project)
    assert files(project) == before
    call_stage("datasets", Params(datasets=(name,), sources={name: section}), Layout(project), name)
    folder = Layout(project).dataset(name)
    used = pq.read_table(folder / "clips.parquet")["clip_id"].to_pylist()
    aside = pq.read_table(folder / "quarantine.parquet").to_pylist()
    assert sorted(clip.clip_id for clip in told.clips) == sorted(used)
    assert Counter(row.code for row in told.quarantined) == Counter(row["code"] for row in aside)
    assert {row.path for row in told.quarantined} == {row["path"] for row in aside}
    assert not any(str(project) in row.message for row in told.quarantined)
    assert told.as_json(ABAW8)["duration_s"] > 0.4


def test_features_in_place_of_media_are_checked_too(project: Path) -> None:
    folder = project / "corpus"
    (folder / "clips.csv").write_text("clip_id,subject_id,label\na,ann,anger\nb,bo,sad\n")
    np.savez(folder / "face.npz", a=np.ones((5, 3)), b=np.full((5, 3), np.nan))
    terms = {"licence": "CC0", "consent": "given", "rates": {"face": 10}}
    told = checked("feature_table", {"root": "corpus", **terms}, project)
    found = told.as_json(ABAW8)
    assert found["modalities"] == {"face": 1}
    assert "not-finite" in found["reasons"]


def test_copies_durations_streams_people_and_classes_are_told(project: Path) -> None:
    corpus = project / "corpus"
    talking(corpus / "anger" / "ann" / "one.mp4")
    speech(corpus / "boredom" / "bo" / "two.wav")
    shutil.copy(corpus / "boredom" / "bo" / "two.wav", corpus / "anger" / "bo.wav")
    found = checked("folder", {"root": "corpus", "licence": "CC0", "consent": "given"}, project).as_json(ABAW8)
    assert found["used"] == 3
    assert found["copies"] == [["corpus/boredom/bo/two.wav", "corpus/anger/bo.wav"]]
    assert found["duration_s"] == pytest.approx(1.5, abs=0.1)
    assert found["modalities"] == {"picture": 1, "sound": 3}
    assert found["emotions"]["boredom"] == {"class": "other", "clips": 1, "subjects": 1}
    assert found["emotions"]["anger"] == {"class": "anger", "clips": 2, "subjects": 2}


def test_who_withdrew_is_counted_and_left_out(project: Path) -> None:
    section = CORPORA["ravdess"](project / "corpus")
    entry = record(project, "ravdess", "ravdess/01", day=date(2026, 1, 2))
    told = checked("ravdess", section, project, (entry,))
    assert told.withdrawn == 1
    assert [clip.subject_id for clip in told.clips] == ["ravdess/02"]


def test_a_missing_folder_is_named_as_the_project_sees_it(project: Path) -> None:
    with pytest.raises(DataError, match=str(project / "nowhere")) as caught:
        checked("emodb", {"root": "nowhere"}, project)
    assert "scratch" not in str(caught.value)


def test_a_name_in_another_encoding_can_be_printed(project: Path) -> None:
    CORPORA["ravdess"](project / "corpus")
    (project / "corpus" / os.fsdecode(b"\xe4.wav")).write_bytes(b"RIFF")
    told = checked("ravdess", {"root": "corpus"}, project)
    assert sorted(row.path for row in told.quarantined if row.path)[-1].encode() == b"corpus/\\udce4.wav"


def test_what_the_folder_holds_and_nothing_uses_is_counted(project: Path) -> None:
    corpus = project / "corpus"
    speech(corpus / "anger" / "ann" / "one.wav")
    speech(corpus / "anger" / "ann" / "._one.wav")
    for name in ("anger/ann/one.xyz", "TWO.XYZ", "notes.txt", ".DS_Store", "stray.wav"):
        (corpus / name).write_bytes(b"x")
    found = checked("folder", {"root": "corpus", "licence": "CC0", "consent": "given"}, project).as_json(ABAW8)
    counts = {kind: files["count"] for kind, files in found["unused"].items()}
    assert counts == {".xyz": 2, ".txt": 1, "AppleDouble (._*)": 1, "desktop files": 1}
    assert found["unused"][".txt"]["example"] == "corpus/notes.txt"
    assert found["reasons"]["clip-without-label"]["clips"] == 1


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_of_a_whole_corpus_nothing_is_left_over(name: str, project: Path) -> None:
    """But for the recording and crops of a label file that is refused, and for what an archive of macOS holds."""
    section = CORPORA[name](project / "corpus")
    left = {"affwild2": {".mp4", ".jpg"}, "iemocap": {"AppleDouble (._*)"}}.get(name, set())
    assert set(checked(name, section, project).unused) == left


def test_rows_and_files_that_do_not_meet_are_both_named(project: Path) -> None:
    corpus = project / "corpus"
    speech(corpus / "one.wav")
    speech(corpus / "two.wav")
    (corpus / "one.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nwell\n")
    (corpus / "table.csv").write_text("audio,subject,emotion,transcript_file\none.wav,ann,anger,one.srt\n")
    section = {"table": "corpus/table.csv", "licence": "CC0", "consent": "given"}
    found = checked("manifest", section, project).as_json(ABAW8)
    assert {kind: files["count"] for kind, files in found["unused"].items()} == {".wav": 1}
    assert found["modalities"] == {"sound": 1, "words": 1}


def test_a_track_that_its_file_lacks_is_told_as_alignment_tells_it(project: Path) -> None:
    corpus = project / "corpus"
    for name in ("a", "b", "c", "d"):
        talking(corpus / f"{name}.mp4")
    speech(corpus / "e.wav")
    rows = ("a.mp4,,1,1", "b.mp4,,,2", "c.mp4,,2,", "d.mp4,e.wav,1,2", ",e.wav,1,")
    lines = [f"{row},p{at},anger" for at, row in enumerate(rows)]
    (corpus / "table.csv").write_text("\n".join(["video,audio,video_track,audio_track,subject,emotion", *lines]))
    section = {"table": "corpus/table.csv", "licence": "CC0", "consent": "given"}
    told = checked("manifest", section, project)
    assert [clip.clip_id for clip in told.clips] == ["manifest/a"]
    params = Params(datasets=("manifest",), sources={"manifest": section})
    call_stage("datasets", params, Layout(project), "manifest")
    refused = {}
    for row in pq.read_table(Layout(project).dataset("manifest") / "clips.parquet").to_pylist():
        clip = Clip.from_row(row)
        try:
            read_media(clip, params.alignment, {}, root=project)
        except MediaError as error:
            refused[clip.clip_id] = (error.code, str(error))
    assert {code for code, _ in refused.values()} == {"no-track"}
    assert sorted(refused) == sorted(row.clip_id for row in told.quarantined)
    for row in told.quarantined:
        assert (row.code, f"{row.message}. {row.remedy}") == refused[row.clip_id]
