from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.datasets.base import Scan
from components.datasets.corpora.mosei import Mosei, MoseiOptions, TranscriptLine, parse_sentence
from tests.alignment.media import tone, wav
from tests.datasets.long_recordings import RATINGS_HEAD, VIDEOS, mosei


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "mosei").mkdir()
    mosei(tmp_path / "mosei")
    return tmp_path / "mosei"


def scan(corpus: Path, splits: str | None = "mosei/splits.csv") -> Scan:
    return Mosei().scan(MoseiOptions(root=f"{corpus.name}/Raw", splits_file=splits), corpus.parent, 7)


def rate(corpus: Path, *lines: str, head: str = RATINGS_HEAD, name: str = "second.csv") -> None:
    (corpus / "Raw" / "Labels" / name).write_text("\n".join([head, *lines, ""]))


def test_a_labelled_sentence_is_a_span_of_its_video(corpus: Path) -> None:
    found = scan(corpus)
    clips = {clip.clip_id: clip for clip in found.clips}
    assert set(clips) == {"mosei/-571d8cVauQ_0", "mosei/-571d8cVauQ_2", "mosei/112425_3", "mosei/Xa086gxLJ3Y_0"}
    clip = clips["mosei/-571d8cVauQ_2"]
    assert (clip.start_s, clip.end_s, clip.transcript) == (1.2, 1.9, "it is ___ not good")
    assert clip.video_path == "mosei/Raw/Videos/Full/Combined/-571d8cVauQ.mp4"
    assert clip.subject_id == clip.session_id == "mosei/-571d8cVauQ"
    assert clip.crop is None
    assert not found.quarantined
    assert any(note.startswith("1 sentences have no ratings") for note in found.notes)


def test_ratings_are_averaged_to_one_emotion_and_valence(corpus: Path) -> None:
    clips = {clip.clip_id.removeprefix("mosei/"): clip for clip in scan(corpus).clips}
    assert clips["-571d8cVauQ_0"].emotion == "happiness"
    assert clips["-571d8cVauQ_0"].valence == pytest.approx((2 + 3 + 2) / 3 / 3)
    assert clips["-571d8cVauQ_2"].emotion == "disgust"
    assert clips["112425_3"].emotion == "disgust"
    assert clips["112425_3"].valence == pytest.approx(-2.5 / 3)
    assert (clips["Xa086gxLJ3Y_0"].emotion, clips["Xa086gxLJ3Y_0"].valence) == ("neutral", 0.0)


def test_two_emotions_that_are_rated_highest_are_none(corpus: Path) -> None:
    # One more rater of sadness: 2 + 3 + 0 of disgust against 1 + 2 + 2 of sadness.
    rate(corpus, "h5,112425,3,0,0,0,0,2,-3,0")
    found = scan(corpus)
    [clip] = [clip for clip in found.clips if clip.clip_id == "mosei/112425_3"]
    assert clip.emotion is None
    assert clip.valence == pytest.approx(-8 / 9)
    assert any(note.startswith("1 clips have no emotion") for note in found.notes)


def test_published_means_are_one_rater_and_thirds_that_are_rounded_tie(corpus: Path) -> None:
    rate(corpus, "x,Xa086gxLJ3Y,0,0.33333334,0,0,0,0.3333333,0.33333334,0", name="5000_batch_raw.csv")
    [clip] = scan(corpus).clips
    assert clip.emotion is None
    rate(corpus, "x,Xa086gxLJ3Y,0,0.6666667,0,0,0,0.3333333,0.33333334,0", name="5000_batch_raw.csv")
    [clip] = scan(corpus).clips
    assert (clip.emotion, clip.valence) == ("anger", pytest.approx(1 / 9))


def test_sentiment_alone_gives_valence_alone(corpus: Path) -> None:
    rate(corpus, "112425,3,-3", head="Input.VIDEO_ID,Input.CLIP,Answer.sentiment", name="5000_batch_raw.csv")
    [clip] = scan(corpus).clips
    assert (clip.emotion, clip.valence) == (None, -1.0)


def test_splits_come_from_the_list(corpus: Path) -> None:
    assert {clip.session_id.removeprefix("mosei/"): clip.split for clip in scan(corpus).clips} == VIDEOS
    assert {clip.split for clip in scan(corpus, splits=None).clips} == {None}
    (corpus / "splits.csv").write_text("video,split\n112425,train\n")
    found = scan(corpus)
    assert {clip.split for clip in found.clips} == {"train", None}
    assert any(note.startswith("2 videos are in no split") for note in found.notes)
    (corpus / "splits.csv").write_text("video,split\n112425,tarin\n")
    with pytest.raises(DataError, match="Did you mean 'train'"):
        scan(corpus)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("h5,112425,3,0,0,0,0,0,4,0", "Answer.sentiment"),
        ("h5,112425,3,0,0,0,0,0,much,0", "Answer.sentiment"),
        ("h5,112425,3,-1,0,0,0,0,0,0", "Answer.anger"),
        ("h5,112425,3,0,0,nan,0,0,0,0", "Answer.fear"),
        ("h5,112425,,0,0,0,0,0,1,0", "Input.CLIP"),
    ],
)
def test_a_bad_rating_is_set_aside_alone(corpus: Path, line: str, field: str) -> None:
    before = scan(corpus).clips
    rate(corpus, line, "h5,112425,3,,,,,,,")  # the last one's rater gave nothing
    found = scan(corpus)
    assert found.clips == before
    [row] = found.quarantined
    assert (row.code, row.field) == ("bad-label", field)
    assert "second.csv line 2" in row.message


def test_ratings_and_sentences_that_do_not_meet(corpus: Path) -> None:
    rate(corpus, "h5,112425,9,0,0,0,0,0,1,0")
    transcript = corpus / "Raw" / "Transcript" / "Segmented" / "Combined" / "112425.txt"
    transcript.write_text(transcript.read_text() + "112425___3___1___2___again\n112425___4___2___1___backwards\n\n")
    found = scan(corpus)
    assert {(row.code, row.clip_id) for row in found.quarantined} == {
        ("label-without-clip", "mosei/112425_9"),
        ("duplicate-label", "mosei/112425 line 2"),
        ("bad-label", "mosei/112425 line 3"),
    }


def test_sound_alone_where_the_video_is_not_there(corpus: Path) -> None:
    (corpus / "Raw" / "Videos" / "Full" / "Combined" / "112425.mp4").unlink()
    folder = corpus / "Raw" / "Audio" / "Full" / "WAV_16000"
    folder.mkdir(parents=True)
    wav(folder / "112425.wav", tone(2.0, 16_000))
    wav(folder / "-571d8cVauQ.wav", tone(2.0, 16_000))
    clips = {clip.clip_id: clip for clip in scan(corpus).clips}
    assert clips["mosei/112425_3"].video_path is None
    assert clips["mosei/112425_3"].audio_path == "mosei/Raw/Audio/Full/WAV_16000/112425.wav"
    assert clips["mosei/-571d8cVauQ_0"].audio_path is None


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("a_b-c___0___-0.05___1.5___well", TranscriptLine(start_s=0.0, end_s=1.5, text="well")),
        ("a_b-c___0___0.5___1.5___", TranscriptLine(start_s=0.5, end_s=1.5, text="")),
        ("a_b-c___0___0.5___1.5", None),
        ("a_b-c___x___0.5___1.5___well", None),
        ("a_b-c___0___1.5___1.5___well", None),
        ("a_b-c___0___1.5___inf___well", None),
    ],
)
def test_a_line_of_a_transcript(line: str, parsed: TranscriptLine | None) -> None:
    found = parse_sentence(line)
    assert found == (("a_b-c", 0), parsed) if parsed else isinstance(found, str)


def test_a_table_of_something_else_is_a_note_beside_others_and_stops_alone(corpus: Path) -> None:
    rate(corpus, "x,1", head="HITId,Title", name="readme.csv")
    found = scan(corpus)
    assert len(found.clips) == 4
    assert any(note.startswith("readme.csv is not a table of ratings") for note in found.notes)
    (corpus / "Raw" / "Labels" / "5000_batch_raw.csv").unlink()
    with pytest.raises(DataError, match=r"Input\.VIDEO_ID"):
        scan(corpus)


def test_a_folder_without_transcripts_or_labels_stops(corpus: Path) -> None:
    for path in (corpus / "Raw" / "Labels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"Input\.VIDEO_ID"):
        scan(corpus)
    with pytest.raises(DataError, match="transcripts"):
        Mosei().scan(MoseiOptions(root=corpus.name), corpus.parent, 7)
