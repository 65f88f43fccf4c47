"""Aff-Wild2: labels and crops count frames, and frames are where the recording has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.contracts.config import Alignment
from components.contracts.errors import DataError
from components.contracts.records import Clip
from components.datasets.base import Scan
from components.datasets.corpora import affwild2 as module
from components.datasets.corpora.affwild2 import Affwild2, Affwild2Options, CorpusFiles, read_frame_labels
from components.runtime.children import guarded
from tests.alignment.media import tone, wav
from tests.datasets.tiny_corpora import affwild2, crops, expr_labels, talking
from tests.media.test_reader import DEADLY

TRAIN = "EXPR_Recognition_Challenge/Train_Set"


@pytest.fixture(autouse=True)
def one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """These corpora have two or three recordings, and a child takes longer to start than they take to read."""
    monkeypatch.setattr(module, "READERS", 1)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    affwild2(folder)
    return folder


def scan(corpus: Path, **options: object) -> Scan:
    return Affwild2().scan(Affwild2Options.model_validate({"root": "corpus", **options}), corpus.parent, 7)


def named(found: Scan, name: str) -> Clip:
    return next(clip for clip in found.clips if clip.clip_id == f"affwild2/{name}")


def refusals(found: Scan) -> dict[str, str]:
    return {row.clip_id.removeprefix("affwild2/"): row.code for row in found.quarantined}


def test_runs_of_equal_labels_are_segments_at_the_frames_own_times(corpus: Path) -> None:
    clip = named(scan(corpus), "1-30-1280x720")
    assert [(one.emotion, round(one.start_s, 3), round(one.end_s, 3)) for one in clip.segments] == [
        ("happiness", 0.0, 0.16),
        ("neutral", 0.24, 0.48),
    ]
    assert clip.emotion is None
    assert clip.split == "train"
    assert clip.video_path == "corpus/batch1/1-30-1280x720.mp4"
    assert clip.pictures_path == "corpus/cropped_aligned/1-30-1280x720"
    assert clip.pictures_rate_hz is None


def test_no_rate_is_assumed(corpus: Path) -> None:
    # Twelve frames at 15 a second; at 30 the labels would end after 0.4 s and the sound would be the wrong one.
    clip = named(scan(corpus), "video5_left")
    assert clip.segments[0].end_s == pytest.approx(12 / 15, abs=0.002)
    assert clip.split == "test"
    assert named(scan(corpus, validation_set="validation"), "video5_left").split == "validation"


def test_left_and_right_are_one_recording_with_its_sound(corpus: Path) -> None:
    left, right = (named(scan(corpus), f"video5_{side}") for side in ("left", "right"))
    assert left.subject_id == right.subject_id == "affwild2/video5"
    assert left.video_path == right.video_path == "corpus/batch2/video5.mp4"
    assert left.pictures_path != right.pictures_path
    config = Alignment.model_validate({"voice": {"activity": "energy"}})
    for clip in (left, right):
        aligned = Aligner(config, media=False).align(clip, root=corpus.parent)
        assert aligned.masks["voice"][:4].all()
        assert np.abs(aligned.pcm.astype(int)).max() > 3000
        assert aligned.masks["face"][:8].all()


def test_a_recording_of_exactly_that_name_goes_before_the_shared_one(corpus: Path) -> None:
    talking(corpus / "batch1" / "video5_left.mp4")
    found = scan(corpus)
    assert named(found, "video5_left").video_path == "corpus/batch1/video5_left.mp4"
    assert named(found, "video5_right").video_path == "corpus/batch2/video5.mp4"


def test_frames_without_a_crop_keep_their_label_and_are_counted(corpus: Path) -> None:
    found = scan(corpus)
    assert named(found, "1-30-1280x720").segments[0].end_s == pytest.approx(0.16)
    assert found.notes == [
        "labelled frames: 34",
        "labelled frames without a crop (their face is masked): 1",
        "people who share a recording: 2",
    ]


def test_what_cannot_be_used_is_set_aside_with_its_reason(corpus: Path) -> None:
    train = corpus / TRAIN
    expr_labels(train / "no_crops.txt", [0] * 12)
    expr_labels(train / "no_video.txt", [0] * 12)
    crops(corpus / "cropped_aligned" / "no_video", [1])
    for name, labels in (("eight", [8]), ("words", ["happy"]), ("hole", [0, "", 0]), ("unseen", [-1] * 12)):
        expr_labels(train / f"{name}.txt", labels)
    expr_labels(train / "headless.txt", [0], header="0")
    expr_labels(train / "longer.txt", [0] * 18)
    expr_labels(train / "empty_folder.txt", [0] * 12)
    (corpus / "cropped_aligned" / "empty_folder").mkdir()
    for name in ("eight", "words", "hole", "unseen", "headless", "longer"):
        crops(corpus / "cropped_aligned" / name, [1])
        talking(corpus / "batch1" / f"{name}.mp4")
    found = scan(corpus)
    assert refusals(found) == {
        "eight": "bad-label",
        "words": "bad-label",
        "hole": "bad-label",
        "headless": "bad-label",
        "unseen": "clip-without-label",
        "longer": "frame-count",
        "no_crops": "missing-file",
        "no_video": "missing-file",
        "empty_folder": "no-pictures",
        "video8": "lfs-pointer",
    }
    assert all(str(corpus) not in row.message and row.path for row in found.quarantined)
    hole = next(row for row in found.quarantined if row.clip_id.endswith("hole"))
    assert "hole.txt line 3" in hole.message
    assert len(found.clips) == 3


def test_a_recording_that_kills_whoever_reads_its_clock_is_set_aside_alone(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "CHILD", DEADLY)
    usual = {clip.clip_id for clip in scan(corpus).clips}
    expr_labels(corpus / TRAIN / "deadly.txt", [0] * 12)
    crops(corpus / "cropped_aligned" / "deadly", [1])
    talking(corpus / "batch1" / "deadly.mp4")
    found = scan(corpus)
    assert refusals(found) == {"deadly": "crashed", "video8": "lfs-pointer"}
    assert {clip.clip_id for clip in found.clips} == usual


def test_a_few_labels_too_many_are_left_out_and_counted(corpus: Path) -> None:
    expr_labels(corpus / TRAIN / "1-30-1280x720.txt", [4] * 14 + [0])
    found = scan(corpus)
    [segment] = named(found, "1-30-1280x720").segments
    assert (segment.emotion, round(segment.end_s, 3)) == ("happiness", 0.48)
    assert "labels beyond the last frame (left out): 3" in found.notes


def test_labels_are_read_by_the_headers_names(tmp_path: Path) -> None:
    turned = "Other,Surprise,Sadness,Happiness,Fear,Disgust,Anger,Neutral"
    labels = read_frame_labels(expr_labels(tmp_path / "a.txt", [0, 3, -1, 7], header=turned))
    assert labels == ["other", "happiness", None, "neutral"]


def test_without_the_recording_a_stated_rate_and_its_sound_are_used(corpus: Path) -> None:
    expr_labels(corpus / TRAIN / "lost_left.txt", [2] * 30)
    crops(corpus / "cropped_aligned" / "lost_left", range(1, 31))
    wav(corpus / "audio.wav", tone(1.0, 16_000)).rename(corpus / "lost.wav")
    clip = named(scan(corpus, frame_rate_hz=20), "lost_left")
    assert clip.segments[0].end_s == pytest.approx(1.5)
    assert (clip.video_path, clip.audio_path, clip.pictures_rate_hz) == (None, "corpus/lost.wav", 20)


def test_recordings_of_every_container_are_found(corpus: Path) -> None:
    (corpus / "batch2" / "video5.mp4").rename(corpus / "batch2" / "video5.M4V")
    (corpus / "batch2" / "talk.opus").touch()
    assert named(scan(corpus), "video5_left").video_path == "corpus/batch2/video5.M4V"
    assert (
        CorpusFiles(Affwild2Options(root="corpus"), corpus.parent).find("talk_left").sound
        == corpus / "batch2/talk.opus"
    )


def test_other_folders_of_crops_are_looked_into_in_their_order(corpus: Path) -> None:
    (corpus / "cropped_aligned").rename(corpus / "crops_2020")
    crops(corpus / "crops_new" / "video5_left", [1])
    found = scan(corpus, pictures=("crops_new", "crops_2020"))
    assert named(found, "video5_left").pictures_path == "corpus/crops_new/video5_left"
    assert named(found, "video5_right").pictures_path == "corpus/crops_2020/video5_right"


def test_without_any_labels_the_corpus_says_so(corpus: Path) -> None:
    (corpus / "EXPR_Recognition_Challenge").rename(corpus / "VA_Estimation_Challenge")
    with pytest.raises(DataError, match="there are no labels"):
        scan(corpus)


def test_recordings_are_found_behind_a_link_and_a_circle_of_links_ends(corpus: Path, tmp_path: Path) -> None:
    (corpus / "batch2").rename(tmp_path / "elsewhere")
    (corpus / "batch2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(corpus)
    assert named(scan(corpus), "video5_left").video_path == "corpus/batch2/video5.mp4"


def test_crops_are_never_walked_for_recordings(corpus: Path) -> None:
    talking(corpus / "cropped_aligned" / "elsewhere" / "video8.mp4")
    corpus_files = CorpusFiles(Affwild2Options(root="corpus"), corpus.parent)
    assert corpus_files.find("elsewhere").video is None
    assert corpus_files.find("video8").video == corpus / "batch2" / "video8.mp4"
