from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.catalog.rows import CATALOG_SCHEMA
from components.contracts.atomic import read_json, write_table
from components.contracts.config import Params
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.records import Clip, clip_table
from components.datasets import registry
from components.registry.terms import Corpus, Count, Terms, corpus, read_corpora
from pipelines.stages import call_stage
from tests.builders import make_clip
from tests.datasets.feature_folders import separable, write_features
from tests.datasets.tiny_corpora import CORPORA
from tests.registry.test_model_card import card_of

# The terms that the sections of tiny corpora state, for corpora without terms of their own.
IN_THE_SECTION = {
    "folder": ("CC0", "in writing"),
    "manifest": ("CC0", "in writing"),
    "feature_table": ("CC BY 4.0", "obtained by its authors"),
}


def section(name: str, folder: Path) -> dict[str, Any]:
    """Writes a tiny corpus; returns its section of params.yaml."""
    if name == "synthetic":
        return {"subjects": 2, "clips_per_subject": 1, "picture_px": 128, "processes": 1}
    folder.mkdir()
    if name == "feature_table":
        licence, consent = IN_THE_SECTION[name]
        write_features(folder, *separable(2, 1), licence=licence, consent=consent)
        return {"root": folder.name}
    return CORPORA[name](folder)


def listed(clips: list[Clip]) -> list[dict[str, Any]]:
    """Rows of a catalog with these clips, alternating between two splits."""
    names = ("clip_id", "dataset", "content_sha256", "subject_id")
    return [
        {**{name: getattr(clip, name) for name in names}, "split": ("train", "test")[number % 2]}
        for number, clip in enumerate(clips)
    ]


def corpus_of(clips: list[Clip], table: list[Clip] | None = None, adapter: str | None = None) -> Corpus:
    """A corpus whose catalog lists some clips, and whose clip table has the same or others."""
    rows = pa.Table.from_pylist(listed(clips), schema=CATALOG_SCHEMA)
    return corpus("tiny", rows, clip_table(clips if table is None else table), adapter=adapter)


@pytest.mark.parametrize("name", registry.names())
def test_the_terms_on_the_clips_of_every_adapter_reach_the_card(name: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    params = Params(datasets=(name,), sources={name: section(name, tmp_path / "corpus")})
    call_stage("datasets", params, layout, name)
    clips = [Clip.from_row(row) for row in pq.read_table(layout.dataset(name) / "clips.parquet").to_pylist()]
    blank = dict.fromkeys(CATALOG_SCHEMA.names) | {"session_id": "", "segments": [], "keys": []}
    numbers = {"num_steps": 1, "rate_hz": 10.0, "duration_s": 0.1}
    table = pa.Table.from_pylist([{**blank, **numbers, **row} for row in listed(clips)], schema=CATALOG_SCHEMA)
    write_table(layout.catalog / "catalog.parquet", table)
    [read] = read_corpora(layout, [name])
    adapter = registry.adapter(name)
    licence, consent = IN_THE_SECTION.get(name, (adapter.licence, adapter.about.consent))
    assert [(terms.licence, terms.consent) for terms in read.terms] == [(licence, consent)]
    people = len({clip.subject_id for clip in clips})
    assert read.total == Count(clips=len(clips), people=people)
    text = card_of(read)
    assert f"  * licence: {licence}\n    consent: {consent}\n" in text
    assert f"{len(clips)} clips of {people} people; source: {adapter.about.title}, " in text
    assert adapter.about.homepage in text
    assert ("no real people: drawn and synthesised" in text) == (name == "synthetic")


def test_a_dataset_with_a_name_of_its_own_has_the_source_of_its_adapter(tmp_path: Path) -> None:
    layout, clip = Layout(tmp_path), make_clip("a", subject_id="tiny/ann", licence="CC0", consent="in writing")
    for adapter, source in (("emodb", "Berlin"), ("synthetic", "rendered")):
        read = corpus_of([clip], adapter=adapter)
        assert source.lower() in read.source.lower()
        assert read.rendered == (adapter == "synthetic")
    mine = tmp_path / "corpus"
    params = Params(datasets=("mine",), sources={"mine": {"adapter": "emodb", **section("emodb", mine)}})
    call_stage("datasets", params, layout, "mine")
    assert read_json(layout.dataset("mine") / "summary.json")["adapter"] == "emodb"


def test_mixed_terms_in_one_corpus_are_counted_by_split() -> None:
    clips = [
        make_clip("a", subject_id="tiny/ann", licence="CC0", consent="in writing"),
        make_clip("b", subject_id="tiny/ann", licence="CC0", consent=" in writing"),
        make_clip("c", subject_id="tiny/bo", licence="CC0", consent="in writing"),
        make_clip("d", subject_id="tiny/bo", licence="CC BY 4.0", consent="in writing"),
        make_clip("e", subject_id="tiny/cy", licence="CC BY 4.0", consent=""),
    ]
    assert corpus_of(clips) == Corpus(
        name="tiny",
        source="unknown",
        rendered=False,
        total=Count(clips=5, people=3),
        terms=(
            Terms(
                licence="CC0",
                consent="in writing",
                total=Count(clips=3, people=2),
                splits={"train": Count(clips=2, people=2), "test": Count(clips=1, people=1)},
            ),
            Terms(
                licence="CC BY 4.0",
                consent="",
                total=Count(clips=1, people=1),
                splits={"train": Count(clips=1, people=1)},
            ),
            Terms(
                licence="CC BY 4.0",
                consent="in writing",
                total=Count(clips=1, people=1),
                splits={"test": Count(clips=1, people=1)},
            ),
        ),
    )


def test_clips_that_the_catalog_leaves_out_are_not_counted() -> None:
    clips = [make_clip("a"), make_clip("b", licence="CC BY 4.0")]
    described = corpus_of(clips[:1], clips)
    assert [terms.licence for terms in described.terms] == ["CC0"]
    assert described.total == Count(clips=1, people=1)


def test_a_clip_that_is_not_in_the_table_is_an_error() -> None:
    clips = [make_clip("a"), make_clip("b")]
    with pytest.raises(DataError, match=r"tiny/b: .*not the one that the catalog was made from; seen 'no such clip'"):
        corpus_of(clips, clips[:1])


def test_a_clip_whose_content_changed_is_an_error() -> None:
    clips = [make_clip("a")]
    with pytest.raises(DataError, match="seen 'different content'"):
        corpus_of(clips, [make_clip("a", content_sha256="0" * 64)])


def test_a_missing_table_names_its_path(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    clips = [make_clip("a")]
    blank = dict.fromkeys(CATALOG_SCHEMA.names) | {"session_id": "", "segments": [], "keys": []}
    numbers = {"num_steps": 1, "rate_hz": 10.0, "duration_s": 0.1}
    table = pa.Table.from_pylist([{**blank, **numbers, **row} for row in listed(clips)], schema=CATALOG_SCHEMA)
    write_table(layout.catalog / "catalog.parquet", table)
    with pytest.raises(DataError, match=r"clips\.parquet.*no such file"):
        read_corpora(layout, ["tiny"])
    write_table(layout.dataset("tiny") / "clips.parquet", clip_table(clips))
    assert read_corpora(layout, ["tiny"])[0].total == Count(clips=1, people=1)
