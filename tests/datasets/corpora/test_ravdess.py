from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.contracts.errors import DataError
from components.contracts.records import Clip, GivenFeatures
from components.datasets.base import Scan
from components.datasets.corpora.ravdess import ACTORS, FOLDS, Ravdess, RavdessOptions
from components.datasets.given import GivenReader

Writer = Callable[[Path], Path]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "ravdess"
    folder.mkdir()
    return folder


def put(corpus: Path, *names: str) -> None:
    for name in names:
        actor = corpus / f"Actor_{Path(name).stem[-2:]}"
        actor.mkdir(exist_ok=True)
        (actor / name).write_bytes(b"x")


def scan(corpus: Path, **options: Any) -> Scan:
    given = RavdessOptions(**{"root": corpus.name, **options})
    return Ravdess().scan(given, corpus.parent, 7)


def by_id(scan: Scan) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in scan.clips}


def test_a_name_is_read_field_by_field(corpus: Path) -> None:
    put(corpus, "01-01-06-02-01-02-12.mp4")
    [clip] = scan(corpus).clips
    assert clip.clip_id == "ravdess/01-01-06-02-01-02-12"
    assert clip.emotion == "fear"
    assert clip.subject_id == "ravdess/12"
    assert clip.session_id == "ravdess/12/speech"
    assert clip.video_path == "ravdess/Actor_12/01-01-06-02-01-02-12.mp4"
    assert clip.audio_path is None
    assert clip.transcript == "Kids are talking by the door"
    assert clip.text_id == "ravdess/01"
    assert clip.groups == {"gender": "female", "intensity": "strong", "channel": "speech", "fold": "3"}
    assert clip.licence == "CC BY-NC-SA 4.0"


def test_all_eight_emotions_map_by_name(corpus: Path) -> None:
    put(corpus, *(f"03-01-0{code}-01-02-01-01.wav" for code in range(1, 9)))
    emotions = [clip.emotion for clip in sorted(scan(corpus).clips, key=lambda clip: clip.clip_id)]
    assert emotions == ["neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"]


def test_a_performance_is_counted_once(corpus: Path) -> None:
    put(
        corpus,
        *(f"0{kind}-01-03-01-01-01-01.{suffix}" for kind, suffix in ((1, "mp4"), (2, "mp4"), (3, "wav"))),
        *(f"0{kind}-01-04-01-01-01-01.{suffix}" for kind, suffix in ((2, "mp4"), (3, "wav"))),
        "03-01-05-01-01-01-01.flac",
    )
    found = scan(corpus)
    clips = by_id(found)
    assert set(clips) == {
        "ravdess/01-01-03-01-01-01-01",
        "ravdess/02-01-04-01-01-01-01",
        "ravdess/03-01-05-01-01-01-01",
    }
    joined = clips["ravdess/02-01-04-01-01-01-01"]
    assert joined.video_path == "ravdess/Actor_01/02-01-04-01-01-01-01.mp4"
    assert joined.audio_path == "ravdess/Actor_01/03-01-04-01-01-01-01.wav"
    assert any(note.startswith("2 picture-only or sound-only files not used") for note in found.notes)
    assert any(note.startswith("1 performances joined") for note in found.notes)
    assert len(scan(corpus, one_clip_per_performance=False).clips) == 6


def test_options_choose_files_and_the_summary_says_so(corpus: Path) -> None:
    put(corpus, "03-01-03-01-01-01-01.wav", "03-02-03-01-01-01-01.wav", "01-01-03-01-01-01-01.mp4")
    default = scan(corpus)
    assert [clip.groups["channel"] for clip in default.clips] == ["speech"]
    assert "1 audio song files left out by the options" in default.notes
    assert len(scan(corpus, channels=("speech", "song")).clips) == 2
    sound = scan(corpus, modalities=("audio",))
    assert [clip.audio_path for clip in sound.clips] == ["ravdess/Actor_01/03-01-03-01-01-01-01.wav"]


@pytest.mark.parametrize(
    ("name", "field", "seen"),
    [
        ("holiday.mp4", "name", "holiday"),
        ("03-01-03-01-01-01.wav", "name", "03-01-03-01-01-01"),
        ("03-01-09-01-01-01-01.wav", "emotion", "09"),
        ("03-01-03-01-01-01-25.wav", "actor", "25"),
        ("04-01-03-01-01-01-01.wav", "modality", "04"),
    ],
)
def test_a_name_that_does_not_parse_is_set_aside_and_others_go_on(
    corpus: Path, name: str, field: str, seen: str
) -> None:
    put(corpus, name, "03-01-03-01-01-01-02.wav")
    found = scan(corpus)
    assert [clip.clip_id for clip in found.clips] == ["ravdess/03-01-03-01-01-01-02"]
    [row] = found.quarantined
    assert (row.code, row.field, row.seen) == ("bad-name", field, seen)
    assert row.path is not None
    assert row.path.endswith(name)
    assert row.allowed
    assert row.remedy


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        scan(tmp_path / "nowhere")


def test_the_folds_of_the_literature_part_the_actors() -> None:
    numbers = sorted(number for fold in FOLDS for number in fold)
    assert numbers == sorted(int(actor) for actor in ACTORS)


def test_the_real_corpus_is_read_whole(shared_data: Path) -> None:
    found = Ravdess().scan(RavdessOptions(root=str(shared_data / "ravdess")), shared_data, 7)
    assert len(found.clips) == 1440
    assert found.quarantined == []
    assert len({clip.subject_id for clip in found.clips}) == 24


def action_units(path: Path, *names: str) -> Path:
    """An `.npz` as the corpus's action units are shared: a stack of names and one of vectors."""
    np.savez(path, clip=np.array(names), face_au=np.arange(len(names) * 35, dtype=np.float32).reshape(-1, 35))
    return path


def test_action_units_join_every_version_of_their_performance(corpus: Path) -> None:
    put(corpus, "03-01-05-01-02-01-02.flac", "03-01-04-01-01-01-03.flac")
    action_units(corpus.parent / "au.npz", "01-01-04-01-01-01-03", "01-01-05-01-02-01-02", "01-01-08-01-01-01-09")
    found = scan(corpus, face_au="au.npz")
    given = {clip.clip_id: clip.given for clip in found.clips}
    assert given["ravdess/03-01-05-01-02-01-02"] == (
        GivenFeatures(modality="face_au", path="au.npz", key="01-01-05-01-02-01-02"),
    )
    row = GivenReader(corpus.parent).read(given["ravdess/03-01-05-01-02-01-02"][0])
    assert row.values.tolist() == [list(range(35, 70))]
    assert "1 rows of face_au do not belong to a used clip" in found.notes


def test_action_units_of_speech_are_not_those_of_a_song(corpus: Path) -> None:
    put(corpus, "03-01-05-01-02-01-02.wav", "03-02-05-01-02-01-02.wav")
    action_units(corpus.parent / "au.npz", "01-01-05-01-02-01-02")
    found = scan(corpus, face_au="au.npz", channels=("speech", "song"))
    assert {clip.clip_id[-20:]: len(clip.given) for clip in found.clips} == {
        "03-01-05-01-02-01-02": 1,
        "03-02-05-01-02-01-02": 0,
    }
    assert "1 of 2 clips have no face_au: the file does not contain them" in found.notes


def test_a_file_of_action_units_that_is_not_there_is_named(corpus: Path) -> None:
    put(corpus, "03-01-05-01-02-01-02.wav")
    with pytest.raises(DataError, match=r"ravdess\.face_au: .*nowhere\.npz"):
        scan(corpus, face_au="nowhere.npz")


def test_the_real_action_units_belong_to_every_performance(shared_data: Path) -> None:
    path = shared_data / "ravdess_face_au" / "ravdess_face_au.npz"
    if not path.is_file():
        pytest.skip("the real action units are not on this machine")
    options = RavdessOptions(root=str(shared_data / "ravdess"), face_au=str(path))
    clips = Ravdess().scan(options, shared_data, 7).clips
    assert len(clips) == 1440
    assert all([given.key[3:] for given in clip.given] == [clip.clip_id[-17:]] for clip in clips)
    read = GivenReader(shared_data).read(clips[0].given[0])
    assert read.values.shape == (1, 35)
