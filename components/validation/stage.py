"""The validation stage: three tables of a dataset in, the clips that may be used out.

Rows that break a `row` expectation go to quarantine with their reason. If a `critical` expectation fails, quarantine
and result are written for the person who mends it, `accepted.parquet` is not, and the stage raises ContractError.
"""

from __future__ import annotations

from typing import Any

from components.contracts.atomic import write_json, write_table
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.contracts.records import quarantine_table
from components.features.store import FeatureStore
from components.validation.checkpoint import Checker
from components.validation.docs import write_pages
from components.validation.judge import judge
from components.validation.upstream import read_upstream


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
    judgement = judge(upstream, params, FeatureStore(layout.features(name)), checker)
    result = judgement.result(params.labels.resolved)
    page = str((layout.data_docs / name / "index.html").relative_to(layout.root))

    folder = layout.validated(name)
    # What an earlier run accepted must not outlive a failure, nor stand beside a newer quarantine.
    (folder / "accepted.parquet").unlink(missing_ok=True)
    write_table(folder / "quarantine.parquet", quarantine_table(judgement.quarantined))
    write_json(folder / "result.json", result)
    if not judgement.broken:
        write_table(folder / "accepted.parquet", judgement.accepted)
    write_pages(layout, name, result)
    if judgement.broken:
        raise judgement.error(f"Data Docs: {page}")
    figures = {key: result["statistics"][key] for key in ("accepted", "set_aside", "subjects")}
    return {**figures, **result, "data_docs": page}
