"""Marks versions that were made with people who have withdrawn: MLflow tags and a line at the top of the description.

    withdrawn.subjects   the people, by the hashes in the version's own list
    withdrawn.splits     the splits they were in: train, calibration, test
    withdrawn.at         the day of the last withdrawal

Nothing else about a version changes. The rollout does not start to serve a marked version until the tag
`withdrawn.accepted_by` is set on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from components.contracts.lineage import STARTED_TAG
from components.registry.subjects import SUBJECTS, splits_by_person
from components.tracking.client import Client
from components.tracking.runs import Run
from components.tracking.versions import BUNDLE_TAG, VersionInfo, describe, set_tags, versions_of

SUBJECTS_TAG, SPLITS_TAG, AT_TAG = "withdrawn.subjects", "withdrawn.splits", "withdrawn.at"
ACCEPTED_TAG = "withdrawn.accepted_by"
HEAD = "> **Withdrawn:**"


@dataclass(frozen=True, kw_only=True)
class AffectedVersion:
    """A version made with some of the people: `people` maps hash → splits, `tags` are the version's present ones."""

    name: str
    version: str
    people: Mapping[str, tuple[str, ...]]
    tags: Mapping[str, str]
    description: str

    @property
    def marked(self) -> bool:
        """Whether its tags already list all of them."""
        return set(self.people) <= set(_listed(self.tags))


@dataclass(frozen=True, kw_only=True)
class VersionSearch:
    """The result of a search: the versions made with the people, and the versions without a list of people."""

    affected: tuple[AffectedVersion, ...]
    unlisted: tuple[str, ...]


def search(subject_ids: Collection[str], *, tracking_uri: str) -> VersionSearch:
    """The versions of every registered model that were made with one of these people.

    Raises:
        UnavailableError: MLflow or its artifacts cannot be reached.
    """
    client = Client(tracking_uri)
    affected, unlisted = [], []
    lists: dict[str | None, Any] = {None: None}
    versions = versions_of(tracking_uri=tracking_uri)
    for version in versions:
        if version.run_id is not None and version.run_id not in lists:
            lists[version.run_id] = Run(client, version.run_id).read_json(SUBJECTS)
        listed = lists[version.run_id]
        if listed is None:
            unlisted.append(f"{version.name} {version.version}")
        elif people := splits_by_person(listed, subject_ids):
            affected.append(_affected(version, people))
    return VersionSearch(
        affected=tuple(sorted(_with_started(affected, versions), key=lambda entry: (entry.name, int(entry.version)))),
        unlisted=tuple(sorted(unlisted)),
    )


def _with_started(affected: Sequence[AffectedVersion], versions: Sequence[VersionInfo]) -> list[AffectedVersion]:
    """The affected versions, and those whose training started from one of them: its weights hold what it learned."""
    by_key = {(entry.name, entry.version): entry for entry in affected}
    while True:
        people_of = {entry.tags.get(BUNDLE_TAG): entry.people for entry in by_key.values()}
        started = [
            _affected(version, people_of[version.tags[STARTED_TAG]])
            for version in versions
            if version.tags.get(STARTED_TAG) in people_of and (version.name, version.version) not in by_key
        ]
        if not started:
            return list(by_key.values())
        by_key.update({(entry.name, entry.version): entry for entry in started})


def _affected(version: VersionInfo, people: Mapping[str, tuple[str, ...]]) -> AffectedVersion:
    return AffectedVersion(
        name=version.name, version=version.version, people=people, tags=version.tags, description=version.description
    )


def mark(version: AffectedVersion, *, day: date, tracking_uri: str) -> None:
    """Writes the tags and the line, unless they exist already. Raises UnavailableError as `search`."""
    if version.marked:
        return
    people = sorted({*_listed(version.tags), *version.people})
    used = {name for splits in version.people.values() for name in splits}
    splits = sorted({*filter(None, version.tags.get(SPLITS_TAG, "").split(",")), *used})
    text = _described(version.description, len(people), splits, day)
    describe(version.name, version.version, text, tracking_uri=tracking_uri)
    tags = {SPLITS_TAG: ",".join(splits), AT_TAG: day.isoformat(), SUBJECTS_TAG: ",".join(people)}
    set_tags(version.name, version.version, tags, tracking_uri=tracking_uri)


def _listed(tags: Mapping[str, str]) -> list[str]:
    return [subject for subject in tags.get(SUBJECTS_TAG, "").split(",") if subject]


def _described(before: str, people: int, splits: Collection[str], day: date) -> str:
    card = before.partition("\n\n")[2] if before.startswith(HEAD) else before
    line = (
        f"{HEAD} {people} of the people whose recordings this version was made with ({', '.join(splits)}) withdrew "
        f"their consent, the last on {day.isoformat()}. Train again without them, and do not roll this version out."
    )
    return f"{line}\n\n{card}"
