"""`mer datasets check NAME`: one table of what would be used of a corpus, what skipped and why. Writes nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.contracts.config import Validation
from components.contracts.errors import DataError
from components.contracts.labels import taxonomy
from components.datasets.check import check
from components.datasets.withdrawn import read_withdrawn
from pipelines.commands.datasets.settings import DatasetSettings, settings
from pipelines.commands.table import table


def command(name: str, *, root: str | None, assignments: Sequence[str], as_json: bool, strict: bool) -> tuple[str, int]:
    """What to print, and the exit code: 0, or 3 where no clip can be used (with `strict`: where one cannot)."""
    chosen = settings(name, root=root, assignments=assignments)
    found = look(name, chosen)
    code = 0 if found["used"] and not (strict and found["skipped"]) else DataError.exit_code
    text = json.dumps(found, indent=2, ensure_ascii=False) if as_json else words(found, chosen.params.validation)
    return text, code


def look(name: str, chosen: DatasetSettings) -> dict[str, Any]:
    """The findings as JSON values; see `components.datasets.check`."""
    # What adapters write (rendered or converted media) is large: beside the project, not where it may be memory.
    chosen.layout.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="check-", dir=chosen.layout.state) as scratch:
        found = check(
            chosen.adapter,
            chosen.options,
            root=chosen.layout.root,
            scratch=Path(scratch),
            seed=chosen.params.seed,
            withdrawn=read_withdrawn(chosen.layout.root, name),
        )
    places = [str(place) for place in chosen.adapter.places(chosen.options)]
    wanted = taxonomy(chosen.params.labels.taxonomy)
    head = {"dataset": name, "places": places, "licence": chosen.adapter.licence, "taxonomy": wanted.name}
    return {**head, **found.as_json(wanted)}


def words(found: dict[str, Any], limits: Validation) -> str:
    """The findings for a person."""
    parts = [
        f"{found['dataset']}: {', '.join(found['places']) or 'rendered'}  ({found['licence']})",
        table(("", "reason", "clips", "for example"), _outcomes(found), right=(2,)),
        "\n".join(f"{name:<10} {value}" for name, value in _facts(found)),
    ]
    if found["emotions"]:
        rows = [(name, one["class"] or "–", one["clips"], one["subjects"]) for name, one in found["emotions"].items()]
        parts.append(table(("emotion", f"class in {found['taxonomy']}", "clips", "people"), rows, right=(2, 3)))
    remedies = {code: row["remedy"] for code, row in found["reasons"].items() if row["remedy"]}
    if remedies:
        parts.append(table(("reason", "what to do"), remedies.items()))
    told = [*found["notes"], *_short_of(found, limits)]
    if told:
        parts.append("\n".join(f"note: {one}" for one in told))
    return "\n\n".join(parts)


def _outcomes(found: dict[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    yield "used", "", found["used"], ""
    for code, row in found["reasons"].items():
        # Messages often name the file; where they do not, it is what a person needs first.
        named = Path(row["example"]).name in row["message"]
        yield "skipped", code, row["clips"], row["message"] if named else f"{row['example']}: {row['message']}"
    if found["withdrawn"]:
        yield "left out", "withdrawn", found["withdrawn"], "somebody in them withdrew"
    if found["copies"]:
        copy, first = found["copies"][0]
        yield "used", "same bytes", len(found["copies"]), f"{copy} is {first}"


def _facts(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "people", str(found["subjects"])
    unknown = f" and {found['duration_unknown']} clips whose headers do not say" if found["duration_unknown"] else ""
    yield "duration", f"{_clock(found['duration_s'])}{unknown}"
    yield "brings", ", ".join(f"{name} {count}" for name, count in found["modalities"].items()) or "nothing"
    if set(found["splits"]) - {"none"}:
        yield "splits", ", ".join(f"{name} {count}" for name, count in found["splits"].items())


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


def _short_of(found: dict[str, Any], limits: Validation) -> Iterator[str]:
    """What the data contracts would refuse."""
    if found["used"] < limits.min_clips:
        yield f"validation asks for {limits.min_clips} clips (validation.min_clips)"
    if found["subjects"] < limits.min_subjects:
        yield f"validation asks for {limits.min_subjects} people (validation.min_subjects)"
    total = found["used"] + found["skipped"]
    if total and found["skipped"] / total > limits.max_quarantined_fraction:
        yield f"{found['skipped'] / total:.0%} would be skipped, more than validation.max_quarantined_fraction"
