"""What people decided about clips in quarantine: `readmitted.csv` in the project's root, one decision a row.

The file belongs to the project and is committed with it; `mer quarantine readmit` writes it, a person may edit it. The
stage `inputs` hands every stage its own part of it, so a decision makes exactly the stages run that it concerns:

* `again`: the stage tries the clip once more although its files are the same. `tries` says how often that was asked
  for; one more is a new request.
* `as_is`: a person looked at the clip and takes it as it is, for a reason. It covers what they saw (`seen`) and nothing
  else: with another value the clip is set aside again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from components.contracts.atomic import atomic_file, read_json
from components.contracts.codes import current
from components.contracts.errors import ConfigError

How = Literal["again", "as_is"]
HOW: tuple[How, ...] = ("again", "as_is")


@dataclass(frozen=True, kw_only=True, order=True)
class Readmitted:
    """One decision: about what `stage` set aside as `code`; `reason` is the person's own words."""

    dataset: str
    clip_id: str
    stage: str
    code: str
    how: How
    tries: int = 1
    seen: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What a stage is to know of them: clip id → how often it was asked to try again; (clip id, code) → the decision
    to take a clip as it is."""

    tries: Mapping[str, int] = field(default_factory=dict)
    as_is: Mapping[tuple[str, str], Readmitted] = field(default_factory=dict)

    def covers(self, clip_id: str, code: str, seen: str) -> bool:
        """Whether somebody takes this clip as it is, having seen just this."""
        decision = self.as_is.get((clip_id, code))
        return decision is not None and decision.seen == seen.strip()


def read_readmitted(path: Path) -> tuple[Readmitted, ...]:
    """The decisions of a file, sorted; none when there is no such file.

    Raises:
        ConfigError: a column is missing, or a row is none; with its line.
    """
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        wanted = [one.name for one in fields(Readmitted)]
        if list(reader.fieldnames or ()) != wanted:
            raise ConfigError(
                "other columns than expected",
                where=path.name,
                seen=", ".join(reader.fieldnames or ()),
                allowed=", ".join(wanted),
                remedy="`mer quarantine readmit` writes the file",
            )
        return tuple(sorted(_row(row, f"{path.name}, line {reader.line_num}") for row in reader))


def write_readmitted(path: Path, rows: Iterable[Readmitted]) -> None:
    """Writes the file, sorted, so that two people's decisions merge line by line."""
    with atomic_file(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [one.name for one in fields(Readmitted)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in sorted(rows))


def decisions_json(rows: Iterable[Readmitted]) -> list[dict[str, Any]]:
    """Decisions as JSON, sorted."""
    return [asdict(row) for row in sorted(rows)]


def read_decisions(path: Path) -> Decisions:
    """What `decisions_json` wrote; none when there is no such file."""
    rows = [Readmitted(**row) for row in read_json(path)] if path.is_file() else []
    return Decisions(
        tries={clip_id: sum(row.tries for row in some) for clip_id, some in _by_clip(rows)},
        as_is={(row.clip_id, current(row.code)): row for row in rows if row.how == "as_is"},
    )


def _by_clip(rows: Iterable[Readmitted]) -> Iterator[tuple[str, list[Readmitted]]]:
    again = [row for row in rows if row.how == "again"]
    for clip_id in sorted({row.clip_id for row in again}):
        yield clip_id, [row for row in again if row.clip_id == clip_id]


def _row(row: Mapping[str | None, Any], where: str) -> Readmitted:
    texts = {str(name): (value or "").strip() for name, value in row.items() if not isinstance(value, list)}
    if None in row or any(not texts[name] for name in ("dataset", "clip_id", "stage", "code")):
        raise ConfigError("this is no decision", where=where, allowed="dataset, clip_id, stage and code are given")
    how, tries = texts.pop("how"), texts.pop("tries")
    if how not in HOW:
        raise ConfigError.unknown("decision", how, HOW, where=where)
    if not tries.isdigit():
        raise ConfigError("tries is a number", where=where, seen=tries, allowed="1, 2, …")
    if how == "as_is" and not texts["reason"]:
        raise ConfigError(
            "a clip is taken as it is for a reason",
            where=where,
            seen="no reason",
            remedy="Say why in the column `reason`: it stands in the Data Docs and on the model card",
        )
    return Readmitted(**texts, how=how, tries=int(tries))
