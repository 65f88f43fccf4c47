from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json
from components.contracts.config import Validation
from components.contracts.errors import ContractError, DataError
from components.contracts.layout import Layout
from components.validation.accepted import ACCEPTED_SCHEMA
from components.validation.upstream import quarantined_of
from pipelines.stages import call_stage
from tests.trees import tree_sha256
from tests.validation.tables import Tiny, tiny_params

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, dict[str, object], str]:
    """A dataset with one bad label, validated: layout, summary, id of the bad clip."""
    tiny = Tiny()
    bad = tiny.change_clip(0, emotion="happyness")
    layout = tiny.write(Layout(tmp_path_factory.mktemp("project")))
    return layout, call_stage("validation", tiny_params(), layout, "tiny"), bad


def test_the_stage_writes_what_was_accepted_and_what_was_not(done: tuple[Layout, dict[str, object], str]) -> None:
    layout, summary, bad = done
    accepted = pq.read_table(layout.validated("tiny") / "accepted.parquet")
    assert accepted.schema.equals(ACCEPTED_SCHEMA)
    assert accepted.num_rows == summary["accepted"] == 11
    (row,) = quarantined_of(layout.validated("tiny") / "quarantine.parquet")
    assert (row.clip_id, row.code, row.seen) == (bad, "emotion_is_known", "happyness")
    assert "happyness" in row.message


def test_the_data_docs_can_be_read(done: tuple[Layout, dict[str, object], str]) -> None:
    layout, summary, _ = done
    landing = (layout.data_docs / "index.html").read_text()
    assert 'href="tiny/index.html"' in landing
    index = layout.root / str(summary["data_docs"])
    assert index == layout.data_docs / "tiny" / "index.html"
    pages = list((layout.data_docs / "tiny" / "validations" / "clips").rglob("*.html"))
    assert len(pages) == 1
    assert "happyness" in pages[0].read_text()
    assert pages[0].relative_to(layout.data_docs / "tiny").as_posix() in index.read_text()
    assert "emotion_is_known" in index.read_text()


def test_the_data_docs_fetch_nothing(done: tuple[Layout, dict[str, object], str]) -> None:
    layout, _, _ = done
    pages = list(layout.data_docs.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text()
        assert "<script" not in text
        assert not re.search(r"(src=|url\()['\"]?https?:", text)
        assert not re.search(r"<link[^>]*https?:", text)


def test_the_outputs_carry_no_time_and_are_equal_the_second_time(
    done: tuple[Layout, dict[str, object], str], tmp_path: Path
) -> None:
    layout, _, _ = done
    tiny = Tiny()
    tiny.change_clip(0, emotion="happyness")
    again = tiny.write(Layout(tmp_path))
    call_stage("validation", tiny_params(), again, "tiny")
    assert tree_sha256(again.validated("tiny")) == tree_sha256(layout.validated("tiny"))


def test_a_critical_failure_leaves_a_reason_and_nothing_to_train_on(tmp_path: Path) -> None:
    layout = Tiny().write(Layout(tmp_path))
    stale = layout.validated("tiny") / "accepted.parquet"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier run")
    with pytest.raises(ContractError, match=r"tiny: accepted\.min_clips") as caught:
        call_stage("validation", tiny_params(validation=Validation(min_clips=99)), layout, "tiny")
    assert ".mer/data_docs/tiny/index.html" in str(caught.value)
    assert not stale.exists()
    assert read_json(layout.validated("tiny") / "result.json")["success"] is False
    assert pq.read_table(layout.validated("tiny") / "quarantine.parquet").num_rows == 0
    assert "stopped" in (layout.data_docs / "index.html").read_text()


def test_a_dataset_that_did_not_get_this_far_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the stage `alignment` has not run"):
        call_stage("validation", tiny_params(), Layout(tmp_path), "tiny")
