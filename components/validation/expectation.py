"""One promise about a table, as plain data, and the few shapes that most promises have.

An expectation has one of three levels:

* ``row``: the rows that break it go to quarantine, the run goes on with the others;
* ``warning``: it is said wherever results are shown, and nothing else happens;
* ``critical``: the stage stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["row", "warning", "critical"]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One promise.

    Attributes:
        name: its own name in the project, which becomes the quarantine code of the rows that break it.
        kind: Great Expectations' name of the test.
        arguments: its arguments.
        level: see the module.
        says: the promise in words, for Data Docs and messages.
        allowed: what would be right, in words.
        remedy: what a person can do about it.
        waivable: a person may take a row that breaks it as it is (`mer quarantine readmit --reason`). Not where the
            stages after this one could not use the row, or where what is missing can be given.
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
        """The column or columns it looks at; empty for a whole table."""
        names = (self.arguments.get("column"), self.arguments.get("column_A"), self.arguments.get("column_B"))
        return ", ".join(name for name in names if name)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The promises of one table; `key` is the column that names a row."""

    name: str
    key: str
    expectations: tuple[Expectation, ...]


def unique(name: str, remedy: str) -> Expectation:
    """A critical promise: no clip id stands twice."""
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
    """A number is within bounds; None is no bound."""
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
    """A column that holds the first thing that is wrong with a row, in words, is empty; the report shows the words."""
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
    """A column of "yes" and "no" holds "yes" (or nothing)."""
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
