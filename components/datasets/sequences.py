"""Rows that form one recording, such as the utterances of a dialogue: put in order, each with its start and end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.contracts.codes import Code
from components.contracts.records import Quarantined
from components.datasets.base import set_aside
from components.datasets.corpora.feature_rows import FeatureRow

NAMED_PEOPLE = 4  # the most names in a joint name; of a larger group, the rest becomes a hash


@dataclass(frozen=True, kw_only=True)
class SequenceRow:
    """A row and its start and end, counted from the start of the sequence."""

    row: FeatureRow
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """Utterances in order, without overlaps; `groups` holds the groups that all of them share."""

    name: str
    utterances: tuple[SequenceRow, ...]
    groups: Mapping[str, str]


def sequenced(
    name: str, rows: Sequence[FeatureRow], utterance_s: float, *, dataset: str
) -> tuple[Sequenced | None, list[Quarantined]]:
    """Puts rows in order: by their times if all have some, else in table order, each `utterance_s` long.

    An utterance ends at the latest where the next one begins: where two people speak at once, the later utterance
    counts. Of two that begin together, the second is set aside; so is a whole sequence in which some rows have times
    and others none, or that lies in several splits.
    """
    timed = [row for row in rows if row.start_s is not None]
    if timed and len(timed) < len(rows):
        lacking = next(row.clip_id for row in rows if row.start_s is None)
        return None, [_refused(dataset, name, f"some rows have times and others none, the first {lacking!r}")]
    splits = sorted({row.split or "none" for row in rows})
    if len(splits) > 1:
        return None, [_refused(dataset, name, f"its rows lie in several splits: {', '.join(splits)}", field="split")]
    places = _by_times(rows) if timed else _one_after_another(rows, utterance_s)
    kept: list[SequenceRow] = []
    refused: list[Quarantined] = []
    for row, start_s, end_s in places:
        if kept and start_s <= kept[-1].start_s:
            message = f"it begins together with {kept[-1].row.clip_id!r}, which counts"
            refused.append(_refused(dataset, row.clip_id, message, sequence=name))
            continue
        if kept and kept[-1].end_s > start_s:
            last = kept.pop()
            kept.append(SequenceRow(row=last.row, start_s=last.start_s, end_s=start_s))
        kept.append(SequenceRow(row=row, start_s=start_s, end_s=end_s))
    shared = set(rows[0].groups.items()).intersection(*(row.groups.items() for row in rows))
    return Sequenced(name=name, utterances=tuple(kept), groups=dict(sorted(shared))), refused


def joint_subjects(sequences: Iterable[Sequence[str]]) -> dict[str, str]:
    """Person → the subject name of their group, for everyone in a sequence.

    People who share a sequence cannot go to different splits, so they count as one subject, together with everyone
    linked to them by further sequences (a connected component).
    """
    parent: dict[str, str] = {}

    def root(person: str) -> str:
        while parent[person] != person:
            parent[person] = parent[parent[person]]
            person = parent[person]
        return person

    for people in sequences:
        for person in people:
            parent.setdefault(person, person)
            parent[root(person)] = root(people[0])
    members: dict[str, list[str]] = {}
    for person in sorted(parent):
        members.setdefault(root(person), []).append(person)
    return {person: _joint(group) for group in members.values() for person in group}


def _joint(people: Sequence[str]) -> str:
    if len(people) <= NAMED_PEOPLE:
        return "+".join(people)
    digest = hashlib.sha256("\0".join(people).encode()).hexdigest()[:8]
    return "+".join((*people[: NAMED_PEOPLE - 1], f"{len(people) - NAMED_PEOPLE + 1}_more_{digest}"))


def _one_after_another(rows: Sequence[FeatureRow], utterance_s: float) -> list[tuple[FeatureRow, float, float]]:
    return [(row, at * utterance_s, (at + 1) * utterance_s) for at, row in enumerate(rows)]


def _by_times(rows: Sequence[FeatureRow]) -> list[tuple[FeatureRow, float, float]]:
    spans = [(row, row.start_s, row.end_s) for row in rows if row.start_s is not None and row.end_s is not None]
    spans.sort(key=lambda span: span[1])
    zero_s = spans[0][1]
    return [(row, start_s - zero_s, end_s - zero_s) for row, start_s, end_s in spans]


def _refused(
    dataset: str, name: str, message: str, *, field: str = "start_s", sequence: str | None = None
) -> Quarantined:
    where = f"sequence {sequence or name!r}"
    return set_aside(
        dataset,
        name,
        code=Code.BAD_SEQUENCE,
        message=f"{where}: {name}: {message}" if sequence else f"{where}: {message}",
        field=field,
        remedy="Correct its lines in the table, or remove them",
    )
