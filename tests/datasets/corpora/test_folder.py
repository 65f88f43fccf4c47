from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import ConfigError
from components.datasets.base import Scan
from components.datasets.corpora.folder import Folder

TERMS = {"licence": "CC0", "consent": "in writing"}


def scan(root: Path, *names: str, **options: Any) -> Scan:
    for name in names:
        path = root / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    adapter = Folder()
    return adapter.scan(adapter.options({"root": "clips", **TERMS, **options}), root, 7)


def test_a_folder_between_emotion_and_file_names_the_person(tmp_path: Path) -> None:
    found = scan(tmp_path, "anger/ann/a.mp4", "Neutral/bo/b.wav")
    clips = {clip.clip_id: clip for clip in found.clips}
    video, sound = clips["folder/anger/ann/a.mp4"], clips["folder/Neutral/bo/b.wav"]
    assert (video.emotion, video.subject_id, video.video_path) == ("anger", "folder/ann", "clips/anger/ann/a.mp4")
    assert (sound.emotion, sound.subject_id, sound.audio_path) == ("neutral", "folder/bo", "clips/Neutral/bo/b.wav")
    assert not found.notes


def test_one_name_in_two_folders_is_two_clips(tmp_path: Path) -> None:
    found = scan(tmp_path, "anger/ann/1.wav", "sadness/ann/1.wav")
    assert len({clip.clip_id for clip in found.clips}) == 2
    assert {clip.subject_id for clip in found.clips} == {"folder/ann"}


def test_a_pattern_finds_the_person_in_the_name_and_without_one_splits_may_leak(tmp_path: Path) -> None:
    names = ("anger/s01_1.wav", "sadness/s01_2.wav")
    found = scan(tmp_path, *names, subject=r"(?P<subject>[^_/]+)_")
    assert {clip.subject_id for clip in found.clips} == {"folder/s01"}
    alone = scan(tmp_path, *names)
    assert len({clip.subject_id for clip in alone.clips}) == 2
    assert any("2 clips" in note and "training and in test" in note for note in alone.notes)


def test_names_are_mapped_and_a_recording_in_no_emotions_folder_is_set_aside(tmp_path: Path) -> None:
    found = scan(tmp_path, "joy/ann/a.wav", "stray.wav", emotions={"joy": "happiness"})
    assert [clip.emotion for clip in found.clips] == ["happiness"]
    assert [(row.code, row.clip_id) for row in found.quarantined] == [("clip-without-label", "folder/stray.wav")]


def test_people_above_emotions_are_read_that_way_round_and_it_is_said(tmp_path: Path) -> None:
    found = scan(tmp_path, "ann/anger/1.wav", "ann/fear/2.wav", "bo/joy/x/3.wav", emotions={"joy": "happiness"})
    assert {(clip.emotion, clip.subject_id) for clip in found.clips} == {
        ("anger", "folder/ann"),
        ("fear", "folder/ann"),
        ("happiness", "folder/bo"),
    }
    assert ["<person>/<emotion>" in note and "ann/anger" in note for note in found.notes] == [True]


def test_a_second_reading_of_the_person_is_named(tmp_path: Path) -> None:
    names = ("anger/lab1/ann/1.wav", "fear/lab1/bo/2.wav")
    found = scan(tmp_path, *names)
    assert {clip.subject_id for clip in found.clips} == {"folder/lab1"}
    [note] = found.notes
    assert "2 recordings" in note
    assert "lab1 is taken as the person, not ann" in note
    stated = scan(tmp_path, *names, subject="([^/]+/)*(?P<subject>[^/]+)/")
    assert {clip.subject_id for clip in stated.clips} == {"folder/ann", "folder/bo"}
    assert not stated.notes


def test_a_person_who_is_called_like_an_emotion_is_named(tmp_path: Path) -> None:
    found = scan(tmp_path, "anger/Neutral/1.wav", "fear/bo/2.wav")
    assert {(clip.emotion, clip.subject_id) for clip in found.clips} == {
        ("anger", "folder/Neutral"),
        ("fear", "folder/bo"),
    }
    assert ["1 recordings lie in two folders that name an emotion" in note for note in found.notes] == [True]


@pytest.mark.parametrize("pattern", ["[", "no group"])
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="subject"):
        Folder().options({"root": "x", **TERMS, "subject": pattern})
