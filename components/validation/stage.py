"""The validation stage: three tables of a dataset in, the clips that may be used out.

Rows that break a `row` expectation go to quarantine with their reason. If a `critical` expectation fails, quarantine
and result are written for the person who mends it, `accepted.parquet` is not, and the stage raises ContractError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from components.contracts.atomic import write_json, write_table
from components.contracts.config import Params
from components.contracts.errors import ContractError
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.contracts.records import Quarantined, quarantine_table
from components.features.store import FeatureStore
from components.validation import accepted as left
from components.validation import suites, tables
from components.validation.checkpoint import Checker, Judged, Outcome
from components.validation.docs import write_landing
from components.validation.measure import measure_store
from components.validation.quarantine import quarantined_rows
from components.validation.structure import structure_table
from components.validation.upstream import Upstream, read_upstream


def run(name: str, params: Params, layout: Layout) -> dict[str, Any]:
    """Judges one dataset.

    Writes `accepted.parquet` (ACCEPTED_SCHEMA), `quarantine.parquet` (all stages up to here) and `result.json`, which
    are pure functions of the tables, and Data Docs, which carry times, below `layout.data_docs`.

    Returns:
        The result with its main figures first, and under `data_docs` the dataset's first page, relative to the root.

    Raises:
        DataError: a stage before has not run.
        ContractError: a critical expectation failed; the message names it, what was seen and what to do.
    """
    upstream = read_upstream(layout, name)
    checker = Checker(docs=layout.data_docs / name)
    outcomes = [checker.check(suites.structure_suite(), structure_table(upstream))]
    quarantined = list(upstream.quarantined)
    accepted: pa.Table | None = None
    if not outcomes[0].failed:
        outcomes += _rows(upstream, params, layout, checker)
        quarantined += quarantined_rows(name, outcomes)
        accepted = left.accepted_table(upstream, quarantined_rows(name, outcomes))
        outcomes += _whole(upstream, accepted, quarantined, params, checker)
    broken = [
        (outcome, judged) for outcome in outcomes for judged in outcome.failed if judged.expectation.level == "critical"
    ]
    result = _result(upstream, outcomes, accepted, quarantined, params, success=not broken)
    _write(layout, name, result, None if broken else accepted, quarantined)
    write_landing(layout)
    if broken:
        raise _stopped(name, broken, layout)
    figures = {key: result["statistics"][key] for key in ("accepted", "set_aside", "subjects")}
    return {**figures, **result, "data_docs": str((layout.data_docs / name / "index.html").relative_to(layout.root))}


def _rows(upstream: Upstream, params: Params, layout: Layout, checker: Checker) -> list[Outcome]:
    wanted: dict[str, set[str]] = {}
    for keys in upstream.index.column("keys").to_pylist():
        for modality, key in keys or ():
            wanted.setdefault(modality, set()).add(key)
    measured = measure_store(FeatureStore(layout.features(upstream.dataset)), wanted)
    return [
        checker.check(suites.clip_suite(), tables.clip_rows(upstream)),
        checker.check(
            suites.alignment_suite(params.alignment.quality, params.validation), tables.alignment_rows(upstream)
        ),
        checker.check(suites.feature_suite(), tables.feature_rows(upstream, measured)),
        checker.check(suites.encoder_suite(), tables.encoder_rows(upstream, measured)),
    ]


def _whole(
    upstream: Upstream, accepted: pa.Table, quarantined: Sequence[Quarantined], params: Params, checker: Checker
) -> list[Outcome]:
    counts = left.class_counts(accepted, params.labels.resolved)
    return [
        checker.check(suites.dataset_suite(params.validation), left.dataset_rows(upstream, accepted, quarantined)),
        checker.check(suites.accepted_suite(params.validation), left.people_rows(accepted)),
        checker.check(suites.class_suite(params.validation), left.class_rows(counts)),
    ]


def _result(
    upstream: Upstream,
    outcomes: Sequence[Outcome],
    accepted: pa.Table | None,
    quarantined: Sequence[Quarantined],
    params: Params,
    *,
    success: bool,
) -> dict[str, Any]:
    taxonomy = params.labels.resolved
    counts = {} if accepted is None else left.class_counts(accepted, taxonomy)
    kept = set() if accepted is None else set(accepted.column("clip_id").to_pylist())
    result = {
        "dataset": upstream.dataset,
        "success": success,
        "statistics": {
            "expectations": sum(len(outcome.judged) for outcome in outcomes),
            "failed": sum(len(outcome.failed) for outcome in outcomes),
            "clips": upstream.clips.num_rows,
            "accepted": 0 if accepted is None else accepted.num_rows,
            "subjects": 0 if accepted is None else len(set(accepted.column("subject_id").to_pylist())),
            "set_aside": len({row.clip_id for row in quarantined} - kept),
            "quarantined": dict(sorted(Counter(row.code for row in quarantined).items())),
        },
        "suites": {outcome.suite: _suite(outcome) for outcome in outcomes},
        "taxonomy": taxonomy.name,
        "per_class": counts,
        "absent_classes": [name for name in taxonomy.classes if name not in counts],
        "encoders": {modality: dict(said) for modality, said in sorted(upstream.encoders.items())},
        "alignment_fingerprint": upstream.alignment_fingerprint,
    }
    return {**result, "fingerprint": fingerprint(result)}


def _suite(outcome: Outcome) -> dict[str, Any]:
    return {
        "rows": outcome.rows,
        "evaluated": len(outcome.judged),
        "failed": {
            judged.expectation.name: {"level": judged.expectation.level, "observed": judged.observed}
            for judged in outcome.failed
        },
    }


def _write(
    layout: Layout, name: str, result: dict[str, Any], accepted: pa.Table | None, quarantined: Sequence[Quarantined]
) -> None:
    folder = layout.validated(name)
    write_table(folder / "quarantine.parquet", quarantine_table(quarantined))
    if accepted is None:
        # What an earlier run accepted must not outlive a failure.
        (folder / "accepted.parquet").unlink(missing_ok=True)
    else:
        write_table(folder / "accepted.parquet", accepted)
    write_json(folder / "result.json", result)


def _stopped(name: str, broken: Sequence[tuple[Outcome, Judged]], layout: Layout) -> ContractError:
    outcome, first = broken[0]
    expectation = first.expectation
    others = ", ".join(f"{other.suite}.{judged.expectation.name}" for other, judged in broken[1:])
    seen = "; ".join(f"{key}: {value}" for key, value in first.failures[:3])
    docs = f"Data Docs: {(layout.data_docs / name / 'index.html').relative_to(layout.root)}"
    return ContractError(
        f"a critical expectation failed: {expectation.says}",
        where=f"{name}: {outcome.suite}.{expectation.name}",
        seen=f"{first.observed} ({seen})" if seen else first.observed,
        allowed=expectation.allowed,
        remedy=". ".join([expectation.remedy, *([f"Also failed: {others}"] if others else []), docs]),
    )
