"""Marks versions that were made with people who have withdrawn: tags and a line on top of the description, in MLflow.

    withdrawn.subjects   the people, as the hashes in the version's own list
    withdrawn.splits     what they were used for: train, calibration, test
    withdrawn.at         the day of the last withdrawal

Nothing else about a version changes. The rollout refuses to begin serving a marked version until the tag
`withdrawn.accepted_by` is set on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from components.registry.subjects import SUBJECTS, found_in
from components.tracking.client import Client
from components.tracking.runs import Run
from components.tracking.versions import describe, set_tags, versions_of

SUBJECTS_TAG, SPLITS_TAG, AT_TAG = "withdrawn.subjects", "withdrawn.splits", "withdrawn.at"
ACCEPTED_TAG = "withdrawn.accepted_by"
HEAD = "> **Withdrawn:**"


@dataclass(frozen=True, kw_only=True)
class Concerned:
    """A version made with some of the people: `people` has hash → splits, `tags` are the version's present ones."""

    name: str
    version: str
    people: Mapping[str, tuple[str, ...]]
    tags: Mapping[str, str]
    description: str

    @property
    def marked(self) -> bool:
        """Whether its tags already name all of them."""
        return set(self.people) <= set(_listed(self.tags))


@dataclass(frozen=True, kw_only=True)
class Search:
    """The result of a search: the versions made with them, and those without a list of their people."""

    concerned: tuple[Concerned, ...]
    silent: tuple[str, ...]


def search(subject_ids: Collection[str], *, tracking_uri: str) -> Search:
    """The versions of every registered model that were made with one of these people.

    Raises:
        UnavailableError: MLflow or its artifacts cannot be reached.
    """
    client = Client(tracking_uri)
    concerned, silent = [], []
    lists: dict[str | None, Any] = {None: None}
    for version in versions_of(tracking_uri=tracking_uri):
        if version.run_id is not None and version.run_id not in lists:
            lists[version.run_id] = Run(client, version.run_id).read_json(SUBJECTS)
        listed = lists[version.run_id]
        if listed is None:
            silent.append(f"{version.name} {version.version}")
        elif people := found_in(listed, subject_ids):
            concerned.append(
                Concerned(
                    name=version.name,
                    version=version.version,
                    people=people,
                    tags=version.tags,
                    description=version.description,
                )
            )
    return Search(
        concerned=tuple(sorted(concerned, key=lambda entry: (entry.name, int(entry.version)))),
        silent=tuple(sorted(silent)),
    )


def mark(concerned: Concerned, *, day: date, tracking_uri: str) -> None:
    """Writes the tags and the line, unless they exist already. Raises UnavailableError as `search`."""
    if concerned.marked:
        return
    people = sorted({*_listed(concerned.tags), *concerned.people})
    used = {name for splits in concerned.people.values() for name in splits}
    splits = sorted({*filter(None, concerned.tags.get(SPLITS_TAG, "").split(",")), *used})
    text = _described(concerned.description, len(people), splits, day)
    describe(concerned.name, concerned.version, text, tracking_uri=tracking_uri)
    tags = {SPLITS_TAG: ",".join(splits), AT_TAG: day.isoformat(), SUBJECTS_TAG: ",".join(people)}
    set_tags(concerned.name, concerned.version, tags, tracking_uri=tracking_uri)


def _listed(tags: Mapping[str, str]) -> list[str]:
    return [subject for subject in tags.get(SUBJECTS_TAG, "").split(",") if subject]


def _described(before: str, people: int, splits: Collection[str], day: date) -> str:
    card = before.partition("\n\n")[2] if before.startswith(HEAD) else before
    line = (
        f"{HEAD} {people} of the people whose recordings this version was made with ({', '.join(splits)}) took their "
        f"consent back, the last on {day.isoformat()}. Train again without them, and do not roll this version out."
    )
    return f"{line}\n\n{card}"
