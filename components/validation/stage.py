"""The validation stage: three tables of a dataset → the clips that may be used.

It also reads people's decisions: which clips of the quarantine are accepted as they are, and the profile of the dataset
when it was last accepted.

Rows that break a `row` expectation go to quarantine with their reason. If a `critical` expectation fails, quarantine
and result are written for the person who repairs the data, `accepted.parquet` is not, and the stage raises
ContractError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.config import AlignmentQuality, Labels, Validation
from components.contracts.layout import Layout
from components.contracts.readmitted import read_decisions
from components.contracts.records import quarantine_table
from components.features.store import FeatureStore
from components.validation.checkpoint import Checker
from components.validation.docs import write_pages
from components.validation.judge import judge
from components.validation.quarantine import STAGE, Waivers
from components.validation.upstream import read_upstream


def run(
    name: str, layout: Layout, *, labels: Labels, quality: AlignmentQuality, validation: Validation
) -> dict[str, Any]:
    """Judges one dataset.

    Writes `accepted.parquet` (ACCEPTED_SCHEMA), `quarantine.parquet` (all stages up to here), `profile.json` (the
    summary that later versions are compared with once this one is accepted) and `result.json`, which are pure functions
    of the tables and of the decisions, and Data Docs, which carry times, below `layout.data_docs`.

    Returns:
        The result with its main figures first, and under `data_docs` the dataset's first page, relative to the root.

    Raises:
        DataError: an earlier stage has not run.
        ContractError: a critical expectation failed; the message names it, the value seen and the remedy.
    """
    upstream = read_upstream(layout, name)
    checker = Checker(docs=layout.data_docs / name)
    judgement = judge(
        upstream,
        FeatureStore(layout.features(name)),
        checker,
        labels=labels,
        quality=quality,
        validation=validation,
        waivers=Waivers(
            here=read_decisions(layout.decisions(name, STAGE)),
            alignment=read_decisions(layout.decisions(name, "alignment")),
        ),
        reference=_reference(layout, name),
    )
    result = judgement.result(labels.resolved)
    page = str((layout.data_docs / name / "index.html").relative_to(layout.root))

    folder = layout.validated(name)
    # The accepted clips of an earlier run must not outlive a failure, nor lie beside a newer quarantine.
    (folder / "accepted.parquet").unlink(missing_ok=True)
    write_table(folder / "quarantine.parquet", quarantine_table(judgement.quarantined))
    write_json(folder / "profile.json", dict(judgement.profile))
    write_json(folder / "result.json", result)
    if not judgement.broken:
        write_table(folder / "accepted.parquet", judgement.accepted)
    write_pages(layout, name, result)
    if judgement.broken:
        raise judgement.error(f"Data Docs: {page}")
    figures = {key: result["statistics"][key] for key in ("accepted", "set_aside", "subjects")}
    return {**figures, "drift_from": _drift_in_words(result["drift"]), **result, "data_docs": page}


def _reference(layout: Layout, name: str) -> dict[str, Any] | None:
    path = layout.reference(name)
    profile = read_json(path) if path.is_file() else None
    return None if profile is None else dict(profile)


def _drift_in_words(drift: Mapping[str, Any]) -> str:
    if drift["compared_with"] is None:
        return "no accepted version"
    moved = sum(measure["moved"] for measure in drift["measures"].values())
    return f"the accepted version: {f'{moved} measures' if moved else 'none'}"
