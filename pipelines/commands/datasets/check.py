"""`mer datasets check NAME`: which clips of a corpus would be used, which skipped, and why. Writes nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.contracts.config import Validation
from components.contracts.errors import DataError
from components.datasets.check import check
from components.datasets.withdrawn import read_withdrawn
from pipelines.commands.datasets.settings import DatasetSettings, settings
from pipelines.commands.table import table

MAX_KINDS = 12  # of unused files that the table shows


def command(name: str, *, root: str | None, assignments: Sequence[str], as_json: bool, strict: bool) -> tuple[str, int]:
    """The text to print, and the exit code: 0, or 3 if no clip can be used (with `strict`: if any cannot)."""
    chosen = settings(name, root=root, assignments=assignments)
    findings = look(name, chosen)
    code = 0 if findings["used"] and not (strict and findings["skipped"]) else DataError.exit_code
    text = json.dumps(findings, indent=2, ensure_ascii=False) if as_json else words(findings, chosen.params.validation)
    return text, code


def look(name: str, chosen: DatasetSettings) -> dict[str, Any]:
    """The findings as JSON values; see `components.datasets.check`."""
    # Adapters may write large files (rendered or converted media): on the project's disk, since /tmp may be memory.
    classes = chosen.params.labels.resolved
    chosen.layout.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="check-", dir=chosen.layout.state) as scratch:
        findings = check(
            chosen.adapter,
            chosen.options,
            root=chosen.layout.root,
            scratch=Path(scratch),
            seed=chosen.params.seed,
            withdrawn=read_withdrawn(chosen.layout.root, name),
            taxonomy=classes,
        )
    places = [str(place) for place in chosen.adapter.places(chosen.options)]
    head = {"dataset": name, "places": places, "licence": chosen.adapter.licence, "taxonomy": classes.name}
    return {**head, **findings.as_json(classes)}


def words(findings: dict[str, Any], limits: Validation) -> str:
    """The findings as printed text."""
    parts = [
        f"{findings['dataset']}: {', '.join(findings['places']) or 'rendered'}  ({findings['licence']})",
        table(("", "reason", "clips", "for example"), _outcomes(findings), right=(2,)),
        "\n".join(f"{name:<10} {value}" for name, value in _facts(findings)),
    ]
    if findings["emotions"]:
        rows = [
            (name, row["class"] or "–", row["clips"], row["subjects"]) for name, row in findings["emotions"].items()
        ]
        parts.append(table(("emotion", f"class in {findings['taxonomy']}", "clips", "people"), rows, right=(2, 3)))
    if findings["unused"]:
        parts.append(table(("not used", "files", "for example"), _unused(findings["unused"]), right=(1,)))
    remedies = {code: row["remedy"] for code, row in findings["reasons"].items() if row["remedy"]}
    if remedies:
        parts.append(table(("reason", "what to do"), remedies.items()))
    notes = [*findings["notes"], *_short_of(findings, limits)]
    if notes:
        parts.append("\n".join(f"note: {note}" for note in notes))
    return "\n\n".join(parts)


def _outcomes(found: dict[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    yield "used", "", found["used"], ""
    for code, row in found["reasons"].items():
        # Messages often name the file; where they do not, it comes first.
        named = Path(row["example"]).name in row["message"]
        yield "skipped", code, row["clips"], row["message"] if named else f"{row['example']}: {row['message']}"
    if found["withdrawn"]:
        yield "left out", "withdrawn", found["withdrawn"], "a person in them withdrew"
    if found["copies"]:
        copy, first = found["copies"][0]
        yield "used", "same bytes", len(found["copies"]), f"{copy} is {first}"


def _unused(found: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    """The kinds of files that nothing uses, the most frequent first; of many kinds, the rest together."""
    kinds = sorted(found.items(), key=lambda entry: (-entry[1]["count"], entry[0]))
    for kind, files in kinds[:MAX_KINDS]:
        yield kind, files["count"], files["example"]
    rest = kinds[MAX_KINDS:]
    if rest:
        yield f"{len(rest)} other suffixes", sum(files["count"] for _, files in rest), rest[0][1]["example"]


def _facts(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "people", str(found["subjects"])
    unknown = (
        f" and {found['duration_unknown']} clips without a duration in their header"
        if found["duration_unknown"]
        else ""
    )
    yield "duration", f"{_clock(found['duration_s'])}{unknown}"
    yield "brings", ", ".join(f"{name} {count}" for name, count in found["modalities"].items()) or "nothing"
    if set(found["splits"]) - {"none"}:
        yield "splits", ", ".join(f"{name} {count}" for name, count in found["splits"].items())


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


def _short_of(found: dict[str, Any], limits: Validation) -> Iterator[str]:
    """The limits of the data contracts that the corpus would break."""
    if found["used"] < limits.min_clips:
        yield f"validation requires {limits.min_clips} clips (validation.min_clips)"
    if found["subjects"] < limits.min_subjects:
        yield f"validation requires {limits.min_subjects} people (validation.min_subjects)"
    total = found["used"] + found["skipped"]
    if total and found["skipped"] / total > limits.max_quarantined_fraction:
        yield f"{found['skipped'] / total:.0%} would be skipped, more than validation.max_quarantined_fraction"
