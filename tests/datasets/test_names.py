"""One person, one label, one file, however they are spelled; in every kind of table and folder."""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.datasets import registry
from components.datasets.base import Scan
from components.datasets.names import DiskNames, name_of, scan_of, spellings
from components.datasets.withdrawn import leave_out, read_withdrawn, record

COMPOSED, DECOMPOSED = "José Núñez", unicodedata.normalize("NFD", "José Núñez")
PEOPLE = (COMPOSED, DECOMPOSED, f"\ufeff{COMPOSED}", " Jos\u200bé  Núñez\u00a0", f"{DECOMPOSED}\u200d")
NUMBERS: tuple[Any, ...] = ("7", "7.0", "7 ", "\u200b7", "7.00")
TERMS = {"licence": "CC0", "consent": "given"}


@pytest.mark.parametrize("spelled", PEOPLE)
def test_spellings_that_look_alike_are_one_name(spelled: str) -> None:
    assert name_of(spelled) == COMPOSED


@pytest.mark.parametrize("spelled", [*NUMBERS, 7, 7.0])
def test_a_whole_number_is_one_name(spelled: Any) -> None:
    assert name_of(spelled) == "7"


@pytest.mark.parametrize("name", ["07", "7.5", "1.0.0", "Ann", "ann", "a-b", "s001", "7.0a"])
def test_names_that_differ_for_a_reader_stay_different(name: str) -> None:
    assert name_of(name) == name


def scan(name: str, project: Path, **section: Any) -> Scan:
    adapter = registry.adapter(name)
    return scan_of(adapter, adapter.options({**TERMS, **section}), project, 7)


def people(found: Scan) -> set[str]:
    assert not found.quarantined
    return {clip.subject_id for clip in found.clips}


def manifest(folder: Path, suffix: str, column: str, cells: tuple[Any, ...], **row: Any) -> Scan:
    rows = [{"audio": f"{at}.wav", "subject": "ann", **row, column: cell} for at, cell in enumerate(cells)]
    path = folder / f"table{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(str(cell) for cell in row.values()) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    return scan("manifest", folder, table=path.name, emotions={DECOMPOSED: "anger", "7": "fear"})


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("cells", "name"), [(PEOPLE, COMPOSED), (NUMBERS, "7")])
def test_a_manifest_has_one_person_and_one_label(
    tmp_path: Path, suffix: str, cells: tuple[Any, ...], name: str
) -> None:
    assert people(manifest(tmp_path, suffix, "subject", cells)) == {f"manifest/{name}"}
    found = manifest(tmp_path, suffix, "emotion", cells)
    assert [clip.emotion for clip in found.clips] == ["fear" if name == "7" else "anger"] * len(cells)
    for column in ("session", "text_id", "group_site"):
        clips = manifest(tmp_path, suffix, column, cells).clips
        assert len({(clip.session_id, clip.text_id, *clip.groups.values()) for clip in clips}) == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_numbers_and_texts_are_one_name(tmp_path: Path, suffix: str) -> None:
    cells = (7, 7) if suffix == ".jsonl" else (7.0, 7.0)
    assert people(manifest(tmp_path, suffix, "subject", cells)) == {"manifest/7"}


def test_a_person_that_is_no_number_is_missing(tmp_path: Path) -> None:
    found = manifest(tmp_path, ".parquet", "subject", (7.0, float("nan")))
    assert [(row.field, row.code) for row in found.quarantined] == [("subject", "bad-label")]


@pytest.mark.parametrize(("on_disk", "in_table"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_a_manifest_finds_a_file_in_any_spelling(tmp_path: Path, on_disk: str, in_table: str) -> None:
    (tmp_path / on_disk).mkdir()
    (tmp_path / on_disk / f"{on_disk}.wav").touch()
    cells = (f"{in_table}/{in_table}.wav", f"{on_disk}/{on_disk}.wav ")
    times = ({"start_s": 0.0, "end_s": 1.0}, {"start_s": 1.0, "end_s": 2.0})
    rows = [
        {"audio": cell, "subject": "ann", "emotion": "fear", **span} for cell, span in zip(cells, times, strict=True)
    ]
    (tmp_path / "table.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    [clip] = scan("manifest", tmp_path, table="table.jsonl").clips
    assert clip.audio_path == f"{on_disk}/{on_disk}.wav"
    assert clip.clip_id == f"manifest/{COMPOSED}/{COMPOSED}"
    assert len(clip.segments) == 2


def test_a_folder_of_a_person_in_several_spellings_is_one_person(tmp_path: Path) -> None:
    for at, (emotion, person) in enumerate([("fear", COMPOSED), ("fear", DECOMPOSED), ("anger ", f"{COMPOSED} ")]):
        path = tmp_path / "clips" / emotion / person / f"{at}.wav"
        path.parent.mkdir(parents=True)
        path.touch()
    for number in ("7", "7.0"):
        path = tmp_path / "clips" / "fear" / number / "one.wav"
        path.parent.mkdir(parents=True)
        path.touch()
    found = scan("folder", tmp_path, root="clips")
    assert people(found) == {f"folder/{COMPOSED}", "folder/7"}
    assert {clip.emotion for clip in found.clips} == {"fear", "anger"}
    assert len({clip.clip_id for clip in found.clips}) == 5
    pattern = scan("folder", tmp_path, root="clips", subject=r"(?P<subject>[\w .]+)/")
    assert people(pattern) == people(found)


def test_a_feature_folder_joins_rows_and_arrays_in_any_spelling(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [f"{COMPOSED} a,7,fear", f"\u200b{DECOMPOSED} b,7.0,fear"]
    (folder / "clips.csv").write_text("\n".join(["clip_id,subject_id,label", *rows]), encoding="utf-8")
    np.savez(folder / "face.npz", **{f"{DECOMPOSED} a": np.ones((2, 3)), f"{COMPOSED} b": np.ones((2, 3))})
    found = scan("feature_table", tmp_path, root="set", rates={"face": 10})
    assert people(found) == {"feature_table/7"}
    assert [clip.given[0].key for clip in found.clips] == [f"{DECOMPOSED} a", f"{COMPOSED} b"]
    assert not found.notes


def test_two_files_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    for name in (COMPOSED, DECOMPOSED):
        (tmp_path / f"{name}.wav").touch()
    disk = DiskNames()
    assert disk.path(tmp_path, f"{DECOMPOSED}.wav") == f"{DECOMPOSED}.wav"
    assert disk.path(tmp_path, f"{COMPOSED}\u200b.wav") == f"{COMPOSED}\u200b.wav"
    assert disk.path(tmp_path, "a\0b.wav") == "a\0b.wav"
    assert disk.path(tmp_path, "gone/b.wav") == "gone/b.wav"


@pytest.mark.parametrize(("recorded", "now"), [(DECOMPOSED, COMPOSED), ("7.0", "7"), ("ann", "ann")])
def test_a_withdrawal_holds_in_the_spelling_of_before(tmp_path: Path, recorded: str, now: str) -> None:
    record(tmp_path, "manifest", f"manifest/{recorded}", day=date(2026, 1, 2))
    found = manifest(tmp_path, ".jsonl", "subject", (now, "bo"))
    rest, left_out = leave_out(found, read_withdrawn(tmp_path))
    assert [clip.subject_id for clip in left_out] == [f"manifest/{now}"]
    assert people(rest) == {"manifest/bo"}
    assert f"manifest/{recorded}" in spellings(f"manifest/{now}")
