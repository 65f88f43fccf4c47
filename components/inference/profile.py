"""What the answers of a version look like, as counts: the profile that later answers are compared with.

It holds aggregates alone, in the bins in which the service counts (`serving/metrics.py`), so that whoever watches a
service needs nothing of a clip, and a few hundred numbers stand for any number of answers. `tables` is the name of a
measure → bin → answers:

    emotion                    what was answered
    presence.<modality>        whether the clip had it
    confidence, contradiction  bins of a tenth, by their upper ends
    distance.<modality>        of the features from the training data, by its threshold
    correct, label             where labels came: whether the answer was right, and what the labels were
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.contracts.errors import BundleError

# Among the artifacts of the run that trained a version.
PROFILE = "monitoring.json"
FORMAT = 1
SHARES = tuple(tenth / 10 for tenth in range(1, 11))
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
BEYOND = "+Inf"
EMOTION, CONFIDENCE, CONTRADICTION, CORRECT, LABEL = "emotion", "confidence", "contradiction", "correct", "label"
PRESENCE, DISTANCE = "presence", "distance"
PRESENT, MISSING, RIGHT, WRONG = "present", "missing", "right", "wrong"
NOTHING = "none"

Table = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One answer, as far as a profile counts it: `presence` and `distances` (by their thresholds) by modality; None
    where there is no such value."""

    emotion: str | None
    confidence: float | None
    presence: Mapping[str, bool]
    distances: Mapping[str, float] = field(default_factory=dict)
    contradiction: float | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Counts of answers by measure and bin.

    Attributes:
        tables: measure → bin → answers.
        people: how many people the answers are about; None where nobody knows, as in a service.
    """

    tables: Mapping[str, Table]
    people: int | None = None

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], *, people: int | None = None) -> Profile:
        """Counts answers."""
        tables: dict[str, Counter[str]] = {}
        for outcome in outcomes:
            for measure, place in _entries(outcome):
                tables.setdefault(measure, Counter())[place] += 1
        return cls(tables={name: dict(sorted(table.items())) for name, table in sorted(tables.items())}, people=people)

    @property
    def answers(self) -> int:
        """How many answers there are, those without an emotion included."""
        return sum(self.tables.get(EMOTION, {}).values())

    def since(self, earlier: Profile) -> Profile:
        """What was counted after `earlier`, of counts that only grow; all of it where they began anew meanwhile."""
        pairs = {name: (table, earlier.tables.get(name, {})) for name, table in self.tables.items()}
        if any(now.get(place, 0) < before for now, old in pairs.values() for place, before in old.items()):
            return self
        left = {
            name: {place: count - old.get(place, 0) for place, count in now.items() if count > old.get(place, 0)}
            for name, (now, old) in pairs.items()
        }
        return Profile(tables={name: table for name, table in left.items() if table}, people=self.people)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        tables = {name: dict(table) for name, table in self.tables.items()}
        return {"format": FORMAT, "people": self.people, "tables": tables}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str) -> Profile:
        """From `to_json`'s value. Raises BundleError where it is not one."""
        try:
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']}")
            people = None if value["people"] is None else int(value["people"])
            tables = {
                str(name): {str(place): int(count) for place, count in table.items()}
                for name, table in value["tables"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError("not a profile of answers", where=where, seen=str(error), allowed=FORMAT) from error
        return cls(tables=tables, people=people)


def place_of(value: float, ends: tuple[float, ...]) -> str:
    """The bin of a value, named by its upper end, which belongs to it."""
    place = bisect_left(ends, value)
    return str(ends[place]) if place < len(ends) else BEYOND


def _entries(outcome: Outcome) -> Iterable[tuple[str, str]]:
    yield EMOTION, outcome.emotion or NOTHING
    for modality, present in outcome.presence.items():
        yield f"{PRESENCE}.{modality}", PRESENT if present else MISSING
    if outcome.confidence is not None:
        yield CONFIDENCE, place_of(outcome.confidence, SHARES)
    if outcome.contradiction is not None:
        yield CONTRADICTION, place_of(outcome.contradiction, SHARES)
    for modality, ratio in outcome.distances.items():
        yield f"{DISTANCE}.{modality}", place_of(ratio, RATIOS)
    if outcome.label is not None:
        yield LABEL, outcome.label
        yield CORRECT, RIGHT if outcome.label == outcome.emotion else WRONG
