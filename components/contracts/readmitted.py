"""People's decisions about clips in quarantine: `readmitted.csv` in the project's root, one decision per row.

The file belongs to the project and is committed with it; `mer quarantine readmit` writes it, and it may be edited by
hand. The stage `inputs` passes each stage its own part of it, so a decision re-runs exactly the stages it concerns:

* `again`: the stage tries the clip once more although its files are the same. `tries` counts these requests; a higher
  number is a new request.
* `as_is`: a person examined the clip and accepts it as it is, for a reason. It covers the value they saw (`seen`) and
  nothing else: with a different value the clip is set aside again.
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
    """One decision about a clip that `stage` set aside as `code`; `reason` is in the person's own words."""

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
    """The decisions that concern a stage: clip id → number of requests to try again; (clip id, code) → the decision to
    accept a clip as it is."""

    tries: Mapping[str, int] = field(default_factory=dict)
    as_is: Mapping[tuple[str, str], Readmitted] = field(default_factory=dict)

    def covers(self, clip_id: str, code: str, seen: str) -> bool:
        """Whether a person accepted this clip as it is, with exactly this value."""
        decision = self.as_is.get((clip_id, code))
        return decision is not None and decision.seen == seen.strip()


def read_readmitted(path: Path) -> tuple[Readmitted, ...]:
    """The decisions of a file, sorted; none when there is no such file.

    Raises:
        ConfigError: the columns are not the expected ones, or a row is not a decision; with its line.
    """
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        columns = [column.name for column in fields(Readmitted)]
        if list(reader.fieldnames or ()) != columns:
            raise ConfigError(
                "the columns are not the expected ones",
                where=path.name,
                seen=", ".join(reader.fieldnames or ()),
                allowed=", ".join(columns),
                remedy="`mer quarantine readmit` writes the file",
            )
        return tuple(sorted(_row(row, f"{path.name}, line {reader.line_num}") for row in reader))


def write_readmitted(path: Path, rows: Iterable[Readmitted]) -> None:
    """Writes the file, sorted, so that two people's decisions merge line by line."""
    with atomic_file(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [column.name for column in fields(Readmitted)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in sorted(rows))


def decisions_json(rows: Iterable[Readmitted]) -> list[dict[str, Any]]:
    """Decisions as JSON, sorted."""
    return [asdict(row) for row in sorted(rows)]


def read_decisions(path: Path) -> Decisions:
    """The decisions of a file that `decisions_json` made; none when there is no such file."""
    rows = [Readmitted(**row) for row in read_json(path)] if path.is_file() else []
    return Decisions(
        tries={clip_id: sum(row.tries for row in requests) for clip_id, requests in _by_clip(rows)},
        as_is={(row.clip_id, current(row.code)): row for row in rows if row.how == "as_is"},
    )


def _by_clip(rows: Iterable[Readmitted]) -> Iterator[tuple[str, list[Readmitted]]]:
    again = [row for row in rows if row.how == "again"]
    for clip_id in sorted({row.clip_id for row in again}):
        yield clip_id, [row for row in again if row.clip_id == clip_id]


def _row(row: Mapping[str | None, Any], where: str) -> Readmitted:
    texts = {str(name): (value or "").strip() for name, value in row.items() if not isinstance(value, list)}
    if None in row or any(not texts[name] for name in ("dataset", "clip_id", "stage", "code")):
        raise ConfigError("this is not a decision", where=where, allowed="dataset, clip_id, stage and code are given")
    how, tries = texts.pop("how"), texts.pop("tries")
    if how not in HOW:
        raise ConfigError.unknown("decision", how, HOW, where=where)
    if not tries.isdigit():
        raise ConfigError("tries must be a number", where=where, seen=tries, allowed="1, 2, …")
    if how == "as_is" and not texts["reason"]:
        raise ConfigError(
            "accepting a clip as it is needs a reason",
            where=where,
            seen="no reason",
            remedy="Give it in the column `reason`: it appears in the Data Docs and on the model card",
        )
    return Readmitted(**texts, how=how, tries=int(tries))
