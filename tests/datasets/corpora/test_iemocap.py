from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.alignment.align import align
from components.contracts.config import Alignment, Params
from components.contracts.errors import DataError
from components.contracts.labels import taxonomy
from components.contracts.layout import Layout
from components.contracts.records import Clip, clips_of
from components.datasets.base import Scan
from components.datasets.corpora.iemocap import EMOTIONS, Iemocap, IemocapOptions, read_words
from pipelines.stages import call_stage
from tests.alignment.media import clicks, grey, jpeg, wav, write_clip
from tests.datasets.long_recordings import EXCUSE_ME, iemocap, label_table

LINE = "[{span}]\tSes02F_impro03_{who}\t{emotion}\t[{vad}]"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "iemocap").mkdir()
    iemocap(tmp_path / "iemocap")
    return tmp_path / "iemocap"


def scan(corpus: Path, **options: Any) -> Scan:
    return Iemocap().scan(IemocapOptions(root=corpus.name, **options), corpus.parent, 7)


def by_name(found: Scan) -> dict[str, Clip]:
    return {clip.clip_id.removeprefix("iemocap/"): clip for clip in found.clips}


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Scan]:
    """Scans a corpus of one table with the given lines."""

    def run(*texts: str, **options: Any) -> Scan:
        label_table(tmp_path / "one", "Session2/Ses02F_impro03", list(texts))
        return scan(tmp_path / "one", **options)

    return run


def line(who: str = "F000", emotion: str = "neu", span: str = "1.0 - 2.0", vad: str = "3.0, 3.0, 3.0") -> str:
    return LINE.format(span=span, who=who, emotion=emotion, vad=vad)


def test_an_utterance_is_a_span_of_its_dialogue_and_half_of_its_picture(corpus: Path) -> None:
    clips = by_name(scan(corpus))
    assert set(clips) == {
        "Ses01F_impro01_F000",
        "Ses01F_impro01_M000",
        "Ses05M_script02_1_M000",
        "Ses05M_script02_1_F000",
        "Ses05F_impro02_F000",
    }
    first, other = clips["Ses01F_impro01_F000"], clips["Ses01F_impro01_M000"]
    assert (first.start_s, first.end_s, first.emotion) == (0.2, 0.9, "neutral")
    assert first.video_path == "iemocap/Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    assert first.audio_path == "iemocap/Session1/dialog/wav/Ses01F_impro01.wav"
    assert first.transcript == "Excuse me."
    # Who wears the markers is on the left: F of Ses01F, M of Ses05M.
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    assert (first.crop, other.crop) == (left, right)
    assert clips["Ses05M_script02_1_M000"].crop == left
    assert clips["Ses05M_script02_1_F000"].crop == right
    assert clips["Ses05M_script02_1_F000"].audio_path is None


def test_ratings_people_folds_and_scripts(corpus: Path) -> None:
    clips = by_name(scan(corpus))
    first, other = clips["Ses01F_impro01_F000"], clips["Ses01F_impro01_M000"]
    angry = clips["Ses05M_script02_1_M000"]
    assert (first.valence, first.arousal) == (-0.25, -0.25)
    assert (other.valence, other.arousal) == (0.5, 1.0)
    assert (angry.valence, angry.arousal) == (-1.0, 0.5)
    assert [clip.subject_id for clip in (first, other, angry)] == ["iemocap/1F", "iemocap/1M", "iemocap/5M"]
    assert [clip.split for clip in (first, angry)] == ["train", "test"]
    assert first.groups == {"fold": "1", "gender": "female", "kind": "improvised"}
    assert angry.groups == {"fold": "5", "gender": "male", "kind": "scripted"}
    assert (first.text_id, angry.text_id) == (None, "iemocap/script02_1")
    assert first.session_id == other.session_id == "iemocap/Ses01F_impro01"
    assert {clip.split for clip in scan(corpus, test_session=1).clips if "Ses01" in clip.clip_id} == {"test"}


def test_what_raters_did_not_give_is_no_rating(lines: Callable[..., Scan]) -> None:
    found = lines(line("F000", vad="0.0, 0.0, 0.0"), line("F001", vad=""), line("M000", vad="1.0, 5.0, 3.0"))
    assert [(clip.valence, clip.arousal) for clip in found.clips] == [(None, None), (None, None), (-1.0, 1.0)]


def test_the_sets_of_four_and_six_classes(lines: Callable[..., Scan]) -> None:
    every = [line(f"F{number:03d}", emotion) for number, emotion in enumerate([*EMOTIONS, "xxx"])]
    assert {clip.emotion for clip in lines(*every).clips} == set(EMOTIONS.values())
    four, six = lines(*every, classes=4), lines(*every, classes=6)
    assert [clip.emotion for clip in four.clips] == ["anger", "happiness", "happiness", "sadness", "neutral"]
    for found, name in ((four, "iemocap4"), (six, "iemocap6")):
        assert {taxonomy(name).class_of(clip.emotion or "") for clip in found.clips} == set(taxonomy(name).classes)
        assert any("(xxx)" in note for note in found.notes)
        assert any("fear is not one of the" in note for note in found.notes)
        assert not found.quarantined


def test_words_of_a_forced_alignment_count_from_the_utterances_start(corpus: Path, tmp_path: Path) -> None:
    words = by_name(scan(corpus))["Ses01F_impro01_F000"].words
    assert [(word.text, word.start_s, word.end_s) for word in words] == [
        ("Excuse", pytest.approx(0.12), pytest.approx(0.31)),
        ("me.", pytest.approx(0.36), pytest.approx(0.53)),
    ]
    path = tmp_path / "a.wdseg"
    path.write_text(EXCUSE_ME)
    assert [word.text for word in read_words(path, "Excuse me, please.")] == ["excuse", "me"]
    assert read_words(tmp_path / "none.wdseg", "Excuse me.") == ()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (line(emotion="joy"), "unknown-emotion"),
        (line(span="2.0 - 2.0"), "bad-label"),
        (line(span="2.0 - soon"), "bad-label"),
        (line(span="nan - 2.0"), "bad-label"),
        (line(who="X000"), "bad-label"),
        (line().replace("Ses02F", "Ses03F"), "bad-label"),
        ("[1.0 - 2.0]\tSes02F_impro03_F000\tneu", "bad-label"),
    ],
)
def test_a_bad_line_is_set_aside_alone_with_its_number(lines: Callable[..., Scan], bad: str, code: str) -> None:
    found = lines(line("F001"), bad, line("F002"))
    assert [clip.clip_id[-4:] for clip in found.clips] == ["F001", "F002"]
    [row] = found.quarantined
    assert row.code == code
    assert "Ses02F_impro03.txt line 7" in row.message
    assert row.path == "one/Session2/dialog/EmoEvaluation/Ses02F_impro03.txt"


def test_files_that_are_not_there_are_said_once(corpus: Path) -> None:
    for path in corpus.rglob("*.avi"):
        path.unlink()
    (corpus / "Session1" / "dialog" / "transcriptions" / "Ses01F_impro01.txt").unlink()
    found = scan(corpus)
    clips = by_name(found)
    assert clips["Ses01F_impro01_F000"].video_path is None
    assert clips["Ses01F_impro01_F000"].crop is None
    assert clips["Ses01F_impro01_F000"].audio_path is not None
    assert clips["Ses05M_script02_1_M000"].video_path is not None  # and the stage says that it is missing
    assert any(note.startswith("1 dialogues have no file in dialog/avi") for note in found.notes)
    assert any("dialog/transcriptions" in note for note in found.notes)


def test_a_folder_without_tables_stops(tmp_path: Path) -> None:
    (tmp_path / "Session1" / "dialog" / "EmoEvaluation").mkdir(parents=True)
    with pytest.raises(DataError, match=r"Ses01F_impro01\.txt"):
        scan(tmp_path)


def test_from_the_table_to_aligned_clips_each_utterance_is_its_own_moment_and_person(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    avi = root / "Session1" / "dialog" / "avi" / "DivX" / "Ses01F_impro01.avi"
    avi.parent.mkdir(parents=True)
    (root / "Session1" / "dialog" / "wav").mkdir()
    pictures = []
    for k in range(300):  # the left half darkens with time, the right one brightens
        left, right = grey(200 - k // 2, 96, 96), grey(50 + k // 2, 96, 96)
        for half in (left, right):
            half[:, ::2] -= 8
        pictures.append(np.concatenate([left, right], axis=1))
    write_clip(avi, pictures=pictures, video_codec="mpeg4", gop=25)
    wav(root / "Session1" / "dialog" / "wav" / "Ses01F_impro01.wav", clicks(12.0, [3.5, 9.0], 16_000))
    label_table(
        root,
        "Session1/Ses01F_impro01",
        [
            "[3.0000 - 5.0000]\tSes01F_impro01_F000\tneu\t[3.0, 3.0, 3.0]",
            "[8.0000 - 10.0000]\tSes01F_impro01_M000\tsad\t[3.0, 3.0, 3.0]",
        ],
    )
    layout = Layout(tmp_path)
    call_stage("datasets", Params(datasets=("iemocap",), sources={"iemocap": {"root": "corpus"}}), layout, "iemocap")
    config = Alignment.model_validate({"face": {"detector": "whole_frame"}, "voice": {"activity": "energy"}})
    clips = clips_of(pq.read_table(layout.dataset("iemocap") / "clips.parquet"))
    assert len({clip.content_sha256 for clip in clips}) == 2
    for clip, start_s, level, click_s in zip(clips, (3.0, 8.0), (158, 146), (0.5, 1.0), strict=True):
        aligned = align(clip, config, root=tmp_path)
        assert aligned.quality.duration_s == 2.0
        assert clip.start_s == start_s
        first = aligned.face_jpeg[0]
        assert first is not None
        assert jpeg(first).mean() == pytest.approx(level, abs=3)
        onset = int(np.argmax(np.abs(aligned.pcm.astype(np.int32)) > 3000)) / aligned.audio_rate_hz
        assert onset == pytest.approx(click_s, abs=0.002)
