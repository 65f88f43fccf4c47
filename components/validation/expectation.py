"""An expectation about a table, as plain data, and functions for the few common kinds.

An expectation has one of three levels:

* ``row``: the rows that break it go to quarantine, the run continues with the others;
* ``warning``: it is shown with the results, without further effect;
* ``critical``: the stage stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["row", "warning", "critical"]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expectation.

    Attributes:
        name: its name in the project, which is the quarantine code of the rows that break it.
        kind: Great Expectations' name of the test.
        arguments: its arguments.
        level: see the module.
        says: the expectation in words, for Data Docs and messages.
        allowed: the values that pass, in words.
        remedy: for a person.
        waivable: a person may accept a row that breaks it (`mer quarantine readmit --reason`). False where later
            stages could not use the row, or where the missing value can be supplied.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    level: Level = "row"
    says: str
    allowed: str
    remedy: str
    waivable: bool = False

    @property
    def field(self) -> str:
        """The column or columns it concerns; empty for a whole table."""
        names = (self.arguments.get("column"), self.arguments.get("column_A"), self.arguments.get("column_B"))
        return ", ".join(name for name in names if name)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The expectations of one table; `key` is the column that identifies a row."""

    name: str
    key: str
    expectations: tuple[Expectation, ...]


def unique(name: str, remedy: str) -> Expectation:
    """Critical: no clip id occurs twice."""
    return Expectation(
        name=name,
        kind="expect_column_values_to_be_unique",
        arguments={"column": "clip_id"},
        level="critical",
        says="No clip id stands twice",
        allowed="each clip id once",
        remedy=remedy,
    )


def filled(column: str, remedy: str) -> Expectation:
    """A text column is not empty."""
    return matches(column, r"\S", "a non-empty text", name=f"{column}_is_given", remedy=remedy)


def given(column: str, remedy: str) -> Expectation:
    """A number is not missing."""
    return Expectation(
        name=f"{column}_is_known",
        kind="expect_column_values_to_not_be_null",
        arguments={"column": column},
        says=f"`{column}` is a number",
        allowed="a number",
        remedy=remedy,
    )


def matches(
    column: str, regex: str, allowed: str, *, name: str | None = None, remedy: str = "Run the stage before again"
) -> Expectation:
    """A text column matches a regular expression."""
    return Expectation(
        name=name or f"{column}_format",
        kind="expect_column_values_to_match_regex",
        arguments={"column": column, "regex": regex},
        says=f"`{column}` is {allowed}",
        allowed=allowed,
        remedy=remedy,
    )


def between(
    column: str,
    low: float | None,
    high: float | None,
    allowed: str,
    remedy: str,
    *,
    strict_min: bool = False,
    name: str | None = None,
    waivable: bool = False,
) -> Expectation:
    """A number is within bounds; None means unbounded."""
    bounds: dict[str, Any] = {"min_value": low, "max_value": high, "strict_min": strict_min or None}
    return Expectation(
        name=name or f"{column}_in_range",
        kind="expect_column_values_to_be_between",
        arguments={"column": column, **{key: value for key, value in bounds.items() if value is not None}},
        says=f"`{column}` is in range: {allowed}",
        allowed=allowed,
        remedy=remedy,
        waivable=waivable,
    )


def none(column: str, name: str, says: str, allowed: str, remedy: str, *, waivable: bool = False) -> Expectation:
    """A column that contains the first defect of a row, in words, is empty; the report shows the words."""
    return Expectation(
        name=name,
        kind="expect_column_values_to_be_null",
        arguments={"column": column},
        says=says,
        allowed=allowed,
        remedy=remedy,
        waivable=waivable,
    )


def true(column: str, says: str, remedy: str) -> Expectation:
    """A column of "yes" and "no" is "yes" (or empty)."""
    return Expectation(
        name=column,
        kind="expect_column_values_to_be_in_set",
        arguments={"column": column, "value_set": ["yes"]},
        says=says[0].upper() + says[1:],
        allowed="yes",
        remedy=remedy,
    )


def coverages(modalities: Iterable[str]) -> Iterable[Expectation]:
    """Coverage of each modality is a share."""
    for modality in modalities:
        yield between(f"coverage_{modality}", 0, 1, "0 to 1", "Run the stage that wrote it again")
