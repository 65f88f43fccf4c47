from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from components.contracts.errors import ContractError
from components.validation.checkpoint import Checker
from components.validation.expectation import Expectation, Suite

pytestmark = pytest.mark.integration


def expectation(kind: str, **arguments: object) -> Expectation:
    return Expectation(name="it", kind=kind, arguments=arguments, says="It holds", allowed="it", remedy="Mend it")


def suite(one: Expectation) -> Suite:
    return Suite(name="numbers", key="name", expectations=(one,))


TABLE = pa.table({"name": ["c", "b", "a", "d"], "value": [7.0, 1.0, 9.0, None]})


def test_failing_rows_come_back_by_key_with_what_was_seen() -> None:
    outcome = Checker().check(
        suite(expectation("expect_column_values_to_be_between", column="value", max_value=5)), TABLE
    )
    (judged,) = outcome.failed
    assert judged.failures == (("a", "9.0"), ("c", "7.0"))
    assert judged.observed == "2 of 4 rows"
    assert outcome.rows == 4


def test_more_failing_rows_than_an_excerpt_holds_all_come_back() -> None:
    table = pa.table({"name": [f"{number:03d}" for number in range(300)], "value": [1.0] * 300})
    outcome = Checker().check(
        suite(expectation("expect_column_values_to_be_between", column="value", min_value=5)), table
    )
    assert len(outcome.failed[0].failures) == 300


def test_an_expectation_about_the_whole_table_says_what_was_seen() -> None:
    outcome = Checker().check(suite(expectation("expect_table_row_count_to_be_between", min_value=9)), TABLE)
    assert (outcome.failed[0].observed, outcome.failed[0].failures) == ("4", ())


def test_an_expectation_that_cannot_be_computed_is_no_pass() -> None:
    wrong = suite(expectation("expect_column_values_to_be_between", column="nowhere", min_value=0))
    with pytest.raises(ContractError, match="numbers: it: an expectation could not be computed") as caught:
        Checker().check(wrong, TABLE)
    assert "nowhere" in str(caught.value)


def test_a_context_without_docs_writes_nothing_and_one_with_docs_a_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = suite(expectation("expect_column_values_to_not_be_null", column="name"))
    assert not Checker().check(one, TABLE).failed
    assert list(tmp_path.iterdir()) == []
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "old.html").write_text("of an earlier run")
    assert not Checker(docs=docs).check(one, TABLE).failed
    assert (docs / "index.html").is_file()
    assert (docs / "expectations" / "numbers.html").is_file()
    assert not (docs / "old.html").exists()
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
