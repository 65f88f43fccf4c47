"""The evidence for a version as tags: its gates, the data contracts of its corpora, and who is in its training data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.atomic import read_json
from components.contracts.layout import Layout

MAX_TAG = 500
GATES_TAG = "gates.passed"
RECORDED_TAG = "gates.recorded_people"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Whether a version was trained on recordings of enough people to get the rollout's alias by itself."""

    people: int
    wanted: int

    @classmethod
    def of(cls, people: Iterable[Mapping[str, Any]], rendered: Mapping[str, bool], *, wanted: int) -> Recorded:
        """Of the people of a catalog.

        Args:
            people: rows with `dataset`, `subject_id` and `split`; those of the training split count.
            rendered: dataset → whether its people are rendered.
            wanted: the least number of people (`registry.min_recorded_people`).
        """
        recorded = {row["subject_id"] for row in people if row["split"] == "train" and not rendered[row["dataset"]]}
        return cls(people=len(recorded), wanted=wanted)

    @property
    def enough(self) -> bool:
        """Whether it does."""
        return self.people >= self.wanted

    def tags(self) -> dict[str, str]:
        """For reviewers; it is not part of `gates.passed`, so a person may promote the version all the same."""
        words = f"trained on recordings of {self.people} people, wanted ≥ {self.wanted}"
        if self.enough:
            return {RECORDED_TAG: f"passed: {words}"}
        return {
            RECORDED_TAG: f"failed: {words}; it does not get the alias by itself, and a person may still promote it"
        }


def all_passed(gates: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a version passed its gates; one that was never judged did not."""
    return bool(gates) and all(gate["passed"] for gate in gates)


def gate_tags(gates: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """`gates.passed` for the reconciler, and `gates.<name>` with the evidence in words for reviewers."""
    tags = {GATES_TAG: "true" if all_passed(gates) else "false"}
    for gate in gates:
        tags[f"gates.{gate['name']}"] = f"{gate['verdict']}: {gate['words']}"[:MAX_TAG]
    return tags


def contract_tags(layout: Layout, datasets: Mapping[str, Any]) -> dict[str, str]:
    """`gx.success`, and `gx.<dataset>`: whether each validated dataset meets its data contract."""
    tags: dict[str, str] = {}
    for name in sorted(datasets):
        path = layout.validated(name) / "result.json"
        if path.is_file():
            tags[f"gx.{name}"] = "true" if read_json(path).get("success") else "false"
    if tags:
        tags["gx.success"] = "true" if all(value == "true" for value in tags.values()) else "false"
    return tags
