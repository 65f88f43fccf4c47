from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.contracts.codes import Code
from components.contracts.config import Params
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.records import clips_of
from components.datasets.base import Scan
from components.datasets.corpora.meld import Meld, MeldOptions, spread
from pipelines.stages import call_stage
from tests.datasets.tiny_corpora import MELD_COLUMNS, meld


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "meld").mkdir()
    meld(tmp_path / "meld")
    return tmp_path / "meld"


def scan(corpus: Path, **options: Any) -> Scan:
    return Meld().scan(MeldOptions(root=corpus.name, **options), corpus.parent, 7)


def test_ids_repeat_across_splits_and_are_kept_apart(corpus: Path) -> None:
    clips = {clip.clip_id: clip for clip in scan(corpus).clips}
    assert set(clips) == {"meld/train/dia0_utt0", "meld/train/dia0_utt1", "meld/dev/dia0_utt0", "meld/test/dia0_utt0"}
    joy = clips["meld/train/dia0_utt0"]
    assert (joy.emotion, joy.subject_id, joy.split) == ("happiness", "meld/Ann", "train")
    assert joy.session_id == "meld/train/dia0"
    assert joy.video_path == "meld/train_splits/dia0_utt0.mp4"
    assert joy.transcript == "Could it be worse?"
    assert clips["meld/test/dia0_utt0"].video_path == "meld/output_repeated_splits_test/dia0_utt0.mp4"


def test_known_broken_recordings_and_unknown_emotions_are_set_aside(corpus: Path) -> None:
    with (corpus / "train_sent_emo.csv").open("a") as stream:
        stream.write('3,Hi,Ann,joy,positive,125,3,1,1,"00:00:01,000","00:00:02,000"\n')
        stream.write('4,Hi,Ann,bliss,positive,9,9,1,1,"00:00:01,000","00:00:02,000"\n')
    codes = {(row.code, row.clip_id) for row in scan(corpus).quarantined}
    assert codes == {("known-broken", "meld/train/dia125_utt3"), ("unknown-emotion", "meld/train/dia9_utt9")}


def test_words_alone_are_laid_over_their_time(corpus: Path) -> None:
    with (corpus / "dev_sent_emo.csv").open("a") as stream:
        stream.write('2,Too short,Ann,joy,positive,1,0,1,1,"00:00:01,000","00:00:01,000"\n')
        stream.write('3,No time,Ann,joy,positive,1,1,1,1,soon,"00:00:01,000"\n')
    found = scan(corpus, text_only=True)
    clip = next(clip for clip in found.clips if clip.clip_id == "meld/train/dia0_utt0")
    assert clip.video_path is None
    assert [word.text for word in clip.words] == ["Could", "it", "be", "worse?"]
    assert (clip.words[0].start_s, clip.words[-1].end_s) == (0.0, 0.5)
    assert {(row.code, row.clip_id) for row in found.quarantined} == {
        ("bad-label", "meld/dev/dia1_utt0"),
        ("bad-label", "meld/dev/dia1_utt1"),
    }


def test_a_row_that_cannot_be_used_says_what_is_true_of_it(corpus: Path) -> None:
    rows = {
        '3,Pheebs?,Ann,joy,positive,71,0,1,1,"00:00:01,000","00:00:01,084"': "lasts 0.08 s by its times",
        '4,Hi,Ann,joy,positive,71,1,1,1,"00:00:02,000","00:00:01,000"': "lasts -1.00 s by its times",
        '5," ",Ann,joy,positive,71,2,1,1,"00:00:01,000","00:00:02,000"': "has no words",
        "6,Hi,Ann,joy,positive,71,3,1,1,soon,later": "is not a time",
        '7,Hi,Ann,bliss,positive,71,4,1,1,"00:00:01,000","00:00:02,000"': "unknown emotion 'bliss'",
    }
    with (corpus / "train_sent_emo.csv").open("a") as stream:
        stream.write("\n".join(rows) + "\n")
    refused = scan(corpus, text_only=True).quarantined
    assert len(refused) == len(rows)
    for row, words in zip(refused, rows.values(), strict=True):
        assert words in row.message
        assert "broken" not in f"{row.message} {row.remedy}"


def test_without_recordings_one_line_names_the_setting(corpus: Path) -> None:
    folders = ("train_splits", "dev_splits_complete", "output_repeated_splits_test")
    shutil.rmtree(corpus / folders[0])
    partly = scan(corpus)
    assert partly.notes == [
        "train_splits is missing: 2 utterances have no recording and are not used; set `meld: text_only: true` to "
        "train on its words alone"
    ]
    assert {clip.split for clip in partly.clips} == {"dev", "test"}
    assert not partly.quarantined
    for name in folders[1:]:
        shutil.rmtree(corpus / name)
    with pytest.raises(DataError, match=r"no recordings.*text_only: true") as refused:
        scan(corpus)
    assert refused.value.code == Code.NO_MEDIA
    assert len(scan(corpus, text_only=True).clips) == 4


def test_words_share_the_time_by_their_letters() -> None:
    first, second = spread("a bbb", 4.0)
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0.0, 1.0, 1.0, 4.0)


def test_a_missing_table_is_a_note_and_no_table_at_all_stops(corpus: Path) -> None:
    (corpus / "test_sent_emo.csv").unlink()
    assert any("test_sent_emo.csv" in note for note in scan(corpus).notes)
    for split in ("train", "dev"):
        (corpus / f"{split}_sent_emo.csv").unlink()
    with pytest.raises(DataError, match="train_sent_emo"):
        scan(corpus)


def test_the_columns_are_checked(corpus: Path) -> None:
    (corpus / "train_sent_emo.csv").write_text(MELD_COLUMNS.replace("Speaker", "Who") + "\n")
    with pytest.raises(DataError, match="Speaker"):
        scan(corpus)


def test_the_real_tables_are_read_whole(shared_data: Path, tmp_path: Path) -> None:
    section = {"root": str(shared_data / "meld"), "text_only": True}
    layout = Layout(tmp_path)
    call_stage("datasets", Params(datasets=("meld",), sources={"meld": section}), layout, "meld")
    clips = clips_of(pq.read_table(layout.dataset("meld") / "clips.parquet"))
    refused = pq.read_table(layout.dataset("meld") / "quarantine.parquet").to_pylist()
    assert len(clips) + len(refused) == 9_989 + 1_109 + 2_610
    assert len(refused) < 20
    assert {row["code"] for row in refused} == {"bad-label"}
    assert len({clip.subject_id for clip in clips}) > 300
