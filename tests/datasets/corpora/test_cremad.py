from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import DataError
from components.contracts.records import Clip
from components.datasets.base import Scan
from components.datasets.corpora.cremad import Cremad, CremadOptions
from tests.datasets.tiny_corpora import cremad


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "cremad").mkdir()
    cremad(tmp_path / "cremad")
    return tmp_path / "cremad"


def scan(corpus: Path, **options: Any) -> Scan:
    return Cremad().scan(CremadOptions(root=corpus.name, **options), corpus.parent, 7)


def by_name(found: Scan) -> dict[str, Clip]:
    return {clip.clip_id.removeprefix("cremad/"): clip for clip in found.clips}


def test_a_performance_is_one_clip_with_the_better_sound(corpus: Path) -> None:
    clips = by_name(scan(corpus))
    both = clips["1001_IEO_ANG_HI"]
    assert both.video_path == "cremad/VideoFlash/1001_IEO_ANG_HI.flv"
    assert both.audio_path == "cremad/AudioWAV/1001_IEO_ANG_HI.wav"
    assert (both.emotion, both.subject_id, both.text_id) == ("anger", "cremad/1001", "cremad/IEO")
    assert both.groups == {
        "intensity": "high",
        "gender": "male",
        "age": "50 and over",
        "race": "Caucasian",
        "ethnicity": "Not Hispanic",
    }
    assert clips["1002_TSI_SAD_LO"].video_path is None
    assert len(clips) == 4


@pytest.mark.parametrize(("label", "emotion"), [("intended", "anger"), ("face", "disgust"), ("both", "anger")])
def test_whose_word_counts_for_the_label(corpus: Path, label: str, emotion: str) -> None:
    assert by_name(scan(corpus, label=label))["1001_IEO_ANG_HI"].emotion == emotion


def test_a_tie_between_raters_is_no_label(corpus: Path) -> None:
    found = scan(corpus, label="both")
    assert "1002_ITS_NEU_XX" not in by_name(found)
    [row] = found.quarantined
    assert (row.code, row.clip_id) == ("clip-without-label", "cremad/1002_ITS_NEU_XX")


def test_votes_without_their_table_stop_and_demographics_without_theirs_do_not(corpus: Path) -> None:
    (corpus / "VideoDemographics.csv").unlink()
    (corpus / "processedResults" / "summaryTable.csv").unlink()
    found = scan(corpus)
    assert len(found.clips) == 4
    assert any("VideoDemographics.csv" in note for note in found.notes)
    with pytest.raises(DataError, match="summaryTable"):
        scan(corpus, label="voice")


@pytest.mark.parametrize(
    ("name", "field"),
    [("1001_XXX_ANG_HI", "sentence"), ("1001_IEO_JOY_HI", "emotion"), ("1001_IEO_ANG_ZZ", "level"), ("readme", "name")],
)
def test_a_bad_part_of_a_name_is_named(corpus: Path, name: str, field: str) -> None:
    (corpus / "AudioWAV" / f"{name}.wav").write_bytes(b"x")
    [row] = scan(corpus).quarantined
    assert (row.code, row.field) == ("bad-name", field)


def test_the_one_file_whose_level_is_a_single_x_is_read(corpus: Path) -> None:
    (corpus / "AudioWAV" / "1040_ITH_SAD_X.wav").write_bytes(b"x")
    assert by_name(scan(corpus))["1040_ITH_SAD_X"].groups["intensity"] == "unspecified"
