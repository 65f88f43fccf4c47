from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.errors import ConfigError, DataError
from components.contracts.layout import Layout
from components.contracts.records import Clip, Quarantined, clips_of
from components.datasets.base import Scan
from components.datasets.synthetic.plan import plan_corpus
from components.datasets.withdrawn import FILE, leave_out, read_withdrawn, record, withdrawal_of
from pipelines.stages import call_stage
from tests.builders import make_clip
from tests.datasets.feature_folders import separable, write_features
from tests.datasets.tiny_corpora import CORPORA
from tests.trees import tree_sha256

DAY = date(2026, 3, 1)


def of(name: str, subject: str) -> Clip:
    return make_clip(name, subject_id=f"tiny/{subject}")


def clips(root: Path, name: str) -> list[Clip]:
    return clips_of(pq.read_table(Layout(root).dataset(name) / "clips.parquet"))


def test_the_file_tells_no_name_and_the_same_person_stands_in_it_once(tmp_path: Path) -> None:
    first = record(tmp_path, "tiny", "tiny/ann", day=DAY)
    assert record(tmp_path, "tiny", "tiny/ann", day=date(2026, 4, 1)) == first
    record(tmp_path, "other", "tiny/ann", day=DAY)
    text = (tmp_path / FILE).read_text()
    assert "ann" not in text
    assert len(read_withdrawn(tmp_path)) == 2
    assert withdrawal_of(tmp_path, "tiny", "tiny/ann") == first
    assert withdrawal_of(tmp_path, "tiny", "tiny/an") is None
    # The salts differ, so nobody sees that two entries are of one person.
    assert len({entry["sha256"] for entry in read_json(tmp_path / FILE)}) == 2


@pytest.mark.parametrize("text", ["{", '{"a": 1}', '[{"dataset": "tiny"}]', '["ann"]', "[1]"])
def test_a_damaged_file_stops_everything(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match="not a list of withdrawals"):
        read_withdrawn(tmp_path)


def test_nobody_withdrew_and_nothing_changes(tmp_path: Path) -> None:
    scan = Scan(clips=[of("a", "ann")])
    assert leave_out(scan, ()) == (scan, ())
    record(tmp_path, "tiny", "tiny/bo", day=DAY)
    rest, gone = leave_out(scan, read_withdrawn(tmp_path))
    assert (rest.clips, gone) == (scan.clips, ())
    # They are no longer there, or under another name, which a reader has to know.
    assert rest.notes == ["1 of 1 withdrawals match no one in the corpus"]


def test_the_clips_of_a_person_go_and_their_quarantine_rows_too(tmp_path: Path) -> None:
    record(tmp_path, "tiny", "tiny/ann", day=DAY)
    row = Quarantined(dataset="tiny", clip_id="tiny/a", stage="datasets", code="width", message="…")
    other = Quarantined(dataset="tiny", clip_id="tiny/b", stage="datasets", code="width", message="…")
    scan = Scan(clips=[of("a", "ann"), of("b", "anna")], quarantined=[row, other])
    rest, gone = leave_out(scan, read_withdrawn(tmp_path))
    assert [clip.clip_id for clip in rest.clips] == ["tiny/b"]
    assert [clip.clip_id for clip in gone] == ["tiny/a"]
    assert rest.quarantined == [other]
    assert rest.notes == ["1 clips left out: 1 people withdrew"]


def test_a_dialogue_goes_with_one_of_its_people_and_the_others_are_parted(tmp_path: Path) -> None:
    together = "ann+bo+cy"
    people = {"tiny/d1": ("ann", "bo"), "tiny/d2": ("bo", "cy"), "tiny/b": ("bo",)}
    scan = Scan(clips=[of(name.partition("/")[2], together) for name in people], people=people)
    record(tmp_path, "tiny", "tiny/ann", day=DAY)
    rest, _ = leave_out(scan, read_withdrawn(tmp_path))
    assert {clip.clip_id: clip.subject_id for clip in rest.clips} == {"tiny/d2": "tiny/bo+cy", "tiny/b": "tiny/bo+cy"}


@pytest.mark.parametrize("name", ["folder", "emodb"])
def test_the_stage_leaves_a_person_out_while_the_corpus_still_holds_them(tmp_path: Path, name: str) -> None:
    params = Params(datasets=(name,), sources={name: CORPORA[name](tmp_path / "corpus")})
    call_stage("datasets", params, Layout(tmp_path), name)
    before = clips(tmp_path, name)
    gone = before[0].subject_id
    record(tmp_path, name, gone, day=DAY)
    summary = call_stage("datasets", params, Layout(tmp_path), name)
    assert [clip.clip_id for clip in clips(tmp_path, name)] == [
        clip.clip_id for clip in before if clip.subject_id != gone
    ]
    assert any("people withdrew" in note for note in summary["notes"])
    record(tmp_path, name, clips(tmp_path, name)[0].subject_id, day=DAY)
    with pytest.raises(DataError, match="clips of people who withdrew"):
        call_stage("datasets", params, Layout(tmp_path), name)


def test_a_feature_table_tells_who_is_in_a_dialogue(tmp_path: Path) -> None:
    table, arrays = separable(3, 2)
    sequences = {"p00_c0": "d0", "p01_c0": "d0"}
    lines = table.splitlines()
    lines = [f"{lines[0]},sequence_id", *(f"{line},{sequences.get(line.partition(',')[0], '')}" for line in lines[1:])]
    write_features(tmp_path / "sets", "\n".join(lines) + "\n", arrays)
    params = Params(datasets=("feature_table",), sources={"feature_table": {"root": "sets"}})
    call_stage("datasets", params, Layout(tmp_path), "feature_table")
    assert {clip.subject_id for clip in clips(tmp_path, "feature_table")} == {
        "feature_table/p00+p01",
        "feature_table/p02",
    }
    record(tmp_path, "feature_table", "feature_table/p00", day=DAY)
    call_stage("datasets", params, Layout(tmp_path), "feature_table")
    assert {clip.clip_id: clip.subject_id for clip in clips(tmp_path, "feature_table")} == {
        f"feature_table/p0{person}_c{clip}": f"feature_table/p0{person}" for person, clip in ((1, 1), (2, 0), (2, 1))
    }


def test_rendered_media_of_a_person_are_deleted_and_do_not_stay(tmp_path: Path) -> None:
    options = {"subjects": 2, "clips_per_subject": 1, "picture_px": 128, "processes": 1}
    params = Params(datasets=("synthetic",), sources={"synthetic": options})
    layout = Layout(tmp_path)
    call_stage("datasets", params, layout, "synthetic")
    media = layout.dataset("synthetic") / "media"
    count = len(list(media.iterdir()))
    mine, other = clips(tmp_path, "synthetic")
    record(tmp_path, "synthetic", mine.subject_id, day=DAY)
    call_stage("datasets", params, layout, "synthetic")
    first = tree_sha256(layout.dataset("synthetic"))
    stem = plan_corpus(seed=params.seed, subjects=2, clips_per_subject=1, picture_px=128)[0].file_stem
    assert not list(media.glob(f"{stem}*"))
    assert len(list(media.iterdir())) < count
    assert [clip.clip_id for clip in clips(tmp_path, "synthetic")] == [other.clip_id]
    call_stage("datasets", params, layout, "synthetic")
    assert tree_sha256(layout.dataset("synthetic")) == first
