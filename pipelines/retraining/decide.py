"""Whether to train again, and why, as a pure function: gathered facts → a decision, each cause with its evidence.

Outputs depend on nothing but data, parameters and code. Where none of these has changed, the same model would come out,
so an old champion or a report of drift is then not a reason to train but something for a person: the decision `review`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal, Self


class Cause(StrEnum):
    """Why a training may be due."""

    ASKED = "asked"
    FIRST = "first"
    DATA = "data"
    LABELS = "labels"
    WITHDRAWAL = "withdrawal"
    DRIFT = "drift"
    PARAMETERS = "parameters"
    CODE = "code"
    AGE = "age"
    UNFINISHED = "unfinished"


# retrain: something that decides the model has changed. review: there is a cause, but the same model would come out.
Kind = Literal["retrain", "review", "nothing"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One cause and what shows it, as words."""

    cause: Cause
    what: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class TrainedVersion:
    """A registered version: when it was registered, and what was noted on it since.

    Attributes:
        version: its number.
        created_at: UTC.
        drift: what whoever watches the service reported; None: nothing.
        drift_at: when, UTC; None: not said, so it counts as old as the version.
        withdrawn: how many of the people it was made with have withdrawn.
    """

    version: str
    created_at: datetime
    drift: str | None = None
    drift_at: datetime | None = None
    withdrawn: int = 0


@dataclass(frozen=True, kw_only=True)
class RetrainFacts:
    """What a decision is made of.

    Attributes:
        now: UTC.
        changes: what decides the model and differs from what the last outputs were made with.
        champion: the version under the rollout's alias.
        successor: the newest version that passed its gates, if it is not the champion and nobody of it withdrew.
        max_age_days: the largest allowed age of the champion; None: any.
    """

    now: datetime
    changes: tuple[Evidence, ...] = ()
    champion: TrainedVersion | None = None
    successor: TrainedVersion | None = None
    max_age_days: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do, the causes, and for a person who has to act, what with."""

    kind: Kind
    causes: tuple[Evidence, ...] = ()
    remedy: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The causes' names, each once, in the order of their evidence."""
        return tuple(dict.fromkeys(evidence.cause.value for evidence in self.causes))

    @property
    def title(self) -> str:
        """The decision in a few words, such as the name of a run."""
        return f"{self.kind}: {', '.join(self.names)}" if self.names else self.kind

    def to_json(self) -> str:
        """One line."""
        causes = [{"cause": evidence.cause.value, "what": evidence.what} for evidence in self.causes]
        return json.dumps({"kind": self.kind, "causes": causes, "remedy": self.remedy}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        value = json.loads(text)
        causes = tuple(Evidence(cause=Cause(entry["cause"]), what=entry["what"]) for entry in value["causes"])
        return cls(kind=value["kind"], causes=causes, remedy=value["remedy"])

    def __str__(self) -> str:
        head = {
            "retrain": f"Training again: {', '.join(self.names)}",
            "review": "Not training: nothing that decides the model has changed, so the same one would come out",
            "nothing": "Nothing to do: no cause to train again",
        }[self.kind]
        lines = [f"  {evidence}" for evidence in self.causes]
        return "\n".join([head, *lines, *([f"  {self.remedy}"] if self.remedy else [])])


def decide(facts: RetrainFacts) -> Decision:
    """The decision. What was noted on the champion counts until a newer version answers it."""
    noted = tuple(_noted(facts))
    if facts.changes:
        return Decision(kind="retrain", causes=(*facts.changes, *noted))
    if not noted:
        return Decision(kind="nothing")
    waiting = facts.successor
    remedy = (
        f"version {waiting.version} waits: `mer gates {waiting.version}`, `mer promote {waiting.version}`"
        if waiting is not None
        else "new recordings, labels or settings would change it"
    )
    return Decision(kind="review", causes=noted, remedy=remedy)


def _noted(facts: RetrainFacts) -> Iterator[Evidence]:
    champion = facts.champion
    if champion is None:
        return
    if champion.withdrawn:
        people = f"{champion.withdrawn} of the people it was made with have withdrawn"
        yield Evidence(cause=Cause.WITHDRAWAL, what=f"version {champion.version}: {people}")
    if champion.drift is not None:
        day = (champion.drift_at or champion.created_at).date()
        yield Evidence(cause=Cause.DRIFT, what=f"version {champion.version}: {champion.drift} (reported {day})")
    age = facts.now - champion.created_at
    if facts.max_age_days is not None and age > timedelta(days=facts.max_age_days):
        what = f"version {champion.version} is {age / timedelta(days=1):.1f} days old, {facts.max_age_days:g} allowed"
        yield Evidence(cause=Cause.AGE, what=what)


def utc(milliseconds: float) -> datetime:
    """The time of a number of milliseconds since 1970, as MLflow stores it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
