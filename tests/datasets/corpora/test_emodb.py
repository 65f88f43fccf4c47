from __future__ import annotations

from pathlib import Path

import pytest

from components.datasets.base import Scan
from components.datasets.corpora.emodb import EMOTIONS, Emodb, EmodbOptions


def scan(folder: Path, *names: str) -> Scan:
    for name in names:
        (folder / f"{name}.wav").write_bytes(b"x")
    return Emodb().scan(EmodbOptions(root=folder.name), folder.parent, 7)


def test_a_name_is_read_field_by_field(tmp_path: Path) -> None:
    [clip] = scan(tmp_path, "14b02Lc").clips
    assert clip.clip_id == "emodb/14b02Lc"
    assert clip.subject_id == "emodb/14"
    assert clip.emotion == "boredom"
    assert clip.text_id == "emodb/b02"
    assert clip.transcript is not None
    assert clip.transcript.startswith("Sie haben es gerade hochgetragen")
    assert clip.groups == {"gender": "female", "age": "30 and over", "language": "German"}


def test_german_initials_map_by_name(tmp_path: Path) -> None:
    clips = scan(tmp_path, *(f"03a01{letter}a" for letter in EMOTIONS)).clips
    assert {clip.clip_id[-2]: clip.emotion for clip in clips} == EMOTIONS
    assert EMOTIONS["A"] == "fear"  # Angst, not anger
    assert EMOTIONS["W"] == "anger"  # Wut


@pytest.mark.parametrize(
    ("name", "field", "seen"),
    [("99a01Fa", "speaker", "99"), ("03a03Fa", "sentence", "a03"), ("03a01Xa", "emotion", "X")],
)
def test_a_bad_part_of_a_name_is_named(tmp_path: Path, name: str, field: str, seen: str) -> None:
    found = scan(tmp_path, name, "03a01Nc")
    assert len(found.clips) == 1
    [row] = found.quarantined
    assert (row.code, row.field, row.seen) == ("bad-name", field, seen)


def test_a_name_of_another_pattern_is_set_aside(tmp_path: Path) -> None:
    [row] = scan(tmp_path, "interview").quarantined
    assert (row.field, row.seen) == ("name", "interview")
