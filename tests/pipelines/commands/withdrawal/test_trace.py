from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from components.contracts.atomic import write_table
from components.contracts.layout import Layout
from components.contracts.records import Clip, clip_table
from components.datasets.base import Scan
from pipelines.commands.withdrawal.trace import CorpusOnDisk, Trace, find, joint_names, subjects_of, tables_of, unknown
from tests.builders import make_clip


def clip(name: str, person: str, **fields: Any) -> Clip:
    return make_clip(name, subject_id=f"tiny/{person}", **fields)


def keys(**of_clip: list[tuple[str, str]]) -> pa.Table:
    rows = [{"clip_id": f"tiny/{name}", "keys": keys} for name, keys in of_clip.items()]
    schema = pa.schema([("clip_id", pa.string()), ("keys", pa.map_(pa.string(), pa.string()))])
    return pa.Table.from_pylist(rows, schema=schema)


def test_everything_that_names_a_person_and_nothing_that_names_others_too(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    clips = [
        clip("a1", "ann", video_path="a1.mp4", audio_path="shared.wav"),
        clip("b1", "bo", audio_path="shared.wav"),
        clip("n1", "ann+bo"),
        clip("x1", "annabel"),
    ]
    write_table(layout.dataset("tiny") / "clips.parquet", clip_table(clips))
    write_table(
        layout.features("tiny") / "index.parquet", keys(a1=[("face", "1"), ("voice", "2")], b1=[("voice", "2")])
    )
    # A clip that was in the corpus earlier.
    write_table(tmp_path / "cache" / "ab" / "cd", clip_table([clip("a0", "ann", video_path="a0.mp4")]))
    tables = tables_of(layout, "tiny", tmp_path / "cache")
    assert subjects_of("tiny", tables, CorpusOnDisk()) == {"tiny/ann", "tiny/bo", "tiny/ann+bo", "tiny/annabel"}
    trace = find("tiny", "tiny/ann", tables, CorpusOnDisk())
    assert trace == Trace(
        dataset="tiny",
        subject_id="tiny/ann",
        joint=frozenset({"tiny/ann", "tiny/ann+bo"}),
        clip_ids=frozenset({"tiny/a0", "tiny/a1", "tiny/n1"}),
        keys=frozenset({"1"}),
        media=frozenset({"a0.mp4", "a1.mp4"}),
    )
    assert Trace.from_json(trace.to_json()) == trace


def test_the_people_of_a_corpus_go_before_a_joint_id(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    clips = [clip("d1", "ann+bo"), clip("b1", "ann+bo")]
    write_table(layout.dataset("tiny") / "clips.parquet", clip_table(clips))
    tables = tables_of(layout, "tiny", None)
    corpus = CorpusOnDisk(scan=Scan(clips=clips, people={"tiny/d1": ("ann", "bo"), "tiny/b1": ("bo",)}))
    assert find("tiny", "tiny/ann", tables, corpus).clip_ids == {"tiny/d1"}
    assert find("tiny", "tiny/ann", tables, CorpusOnDisk()).clip_ids == {"tiny/d1", "tiny/b1"}
    assert joint_names(corpus) == {"tiny/ann+bo": ("tiny/ann", "tiny/bo")}
    assert joint_names(CorpusOnDisk()) == {}


def test_two_traces_of_a_person_are_joined() -> None:
    first = Trace(dataset="tiny", subject_id="tiny/ann", clip_ids=frozenset({"tiny/a1"}))
    second = Trace(dataset="tiny", subject_id="tiny/ann", clip_ids=frozenset({"tiny/a2"}), keys=frozenset({"1"}))
    joined = first.joined(second)
    assert joined.clip_ids == {"tiny/a1", "tiny/a2"}
    assert joined.keys == {"1"}


def test_an_unknown_id_gets_the_nearest_ids_or_a_hint_that_nothing_ran() -> None:
    error = unknown("ravdess/1", ["ravdess/01", "ravdess/11", "emodb/03"], ["ravdess"], [])
    assert error.exit_code == 3
    assert "ravdess/01" in str(error.remedy)
    assert "mer run --stage datasets" in str(unknown("x", [], ["ravdess"], ["ravdess: no such folder"]).remedy)
    assert "no such folder" in str(unknown("x", [], ["ravdess"], ["ravdess: no such folder"]).remedy)
