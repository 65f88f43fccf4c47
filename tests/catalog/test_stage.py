from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.catalog.rows import CATALOG_SCHEMA
from components.contracts.atomic import read_json
from components.contracts.config import parse_params
from components.contracts.errors import ConfigError, DataError
from components.contracts.layout import Layout
from pipelines.stages import call_stage
from tests.trees import tree_sha256
from tests.validation.tables import Tiny, tiny_clips, tiny_params


@pytest.mark.integration
def test_two_validated_datasets_become_one_catalog(tmp_path: Path) -> None:
    params = tiny_params(datasets=("tiny", "more"))
    layout = Layout(tmp_path)
    tiny = Tiny()
    bad = tiny.change_clip(0, emotion="glee")
    for dataset in (tiny, Tiny(clips=tiny_clips(subjects=5, dataset="more"), dataset="more")):
        dataset.write(layout)
        call_stage("validation", params, layout, dataset.dataset)
    summary = call_stage("catalog", params, layout)
    table = pq.read_table(layout.catalog / "catalog.parquet")
    assert table.schema.equals(CATALOG_SCHEMA)
    assert table.num_rows == 12 - 1 + 15
    assert bad not in table.column("clip_id").to_pylist()
    assert read_json(layout.catalog / "catalog.json") == summary
    assert set(summary["datasets"]) == set(summary["validation"]) == {"tiny", "more"}
    assert {name: said["failed"] for name, said in summary["suites"].items()} == {
        "people_of_splits": {},
        "classes_of_splits": {},
    }
    assert "classes_of_splits" in (layout.data_docs / "_catalog" / "index.html").read_text()
    assert 'href="_catalog/index.html"' in (layout.data_docs / "index.html").read_text()
    before = tree_sha256(layout.catalog)
    assert call_stage("catalog", params, layout)["sha256"] == summary["sha256"]
    assert tree_sha256(layout.catalog) == before

    # A dataset that is no longer named is gone, whatever still lies in its folder.
    alone = call_stage("catalog", tiny_params(), layout)
    assert set(alone["datasets"]) == {"tiny"}
    assert pq.read_table(layout.catalog / "catalog.parquet").num_rows == 11


def test_a_dataset_without_accepted_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tiny: this dataset has no accepted clips"):
        call_stage("catalog", tiny_params(), Layout(tmp_path))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"train": 0.9}, "add up to 1"),
        ({"folds": 2}, "catalog.folds"),
        ({"folds": "actors"}, "catalog.folds"),
        ({"folds": 5, "test_fold": 5}, "test_fold must be below folds"),
        ({"folds": 5, "use_corpus_splits": True}, "exclude each other"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(section: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_params({"datasets": ["tiny"], "catalog": section}, ["tiny"])
