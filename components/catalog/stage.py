"""The catalog stage: accepted clips of every dataset → the exact list for training, with its splits judged.

If a critical expectation about the splits is broken, `catalog.json` is written for the person who repairs the data, the
list is not, and the stage raises ContractError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.catalog.catalog import Validated, build
from components.catalog.clips import Clips, splits_of
from components.catalog.suites import class_table, people_table, split_suites, text_table
from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.config import Catalog, Labels
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.validation.accepted import ACCEPTED_SCHEMA
from components.validation.checkpoint import Checker, Outcome, critical, error_of, figures
from components.validation.docs import CATALOG, write_catalog_pages


def run(layout: Layout, *, catalog: Catalog, datasets: Sequence[str], labels: Labels, seed: int) -> dict[str, Any]:
    """Writes `catalog.parquet` and `catalog.json` and returns the latter.

    Raises:
        DataError: a dataset was not validated; further see `build`.
        ContractError: a critical expectation about the splits is broken.
    """
    validated = [_validated(layout, name) for name in sorted(datasets)]
    table, built = build(validated, labels.resolved, catalog, seed)
    outcomes = judge_splits(table, built, catalog, Checker(docs=layout.data_docs / CATALOG))
    description = {**built, "suites": {outcome.suite: figures(outcome) for outcome in outcomes}}
    # The list of an earlier run must not outlive a failure.
    (layout.catalog / "catalog.parquet").unlink(missing_ok=True)
    write_json(layout.catalog / "catalog.json", description)
    write_catalog_pages(layout, description)
    broken = critical(outcomes)
    if broken:
        page = (layout.data_docs / CATALOG / "index.html").relative_to(layout.root)
        raise error_of(broken, where="catalog", look=f"Data Docs: {page}")
    write_table(layout.catalog / "catalog.parquet", table)
    return description


def judge_splits(
    table: pa.Table, description: Mapping[str, Any], config: Catalog, checker: Checker
) -> tuple[Outcome, ...]:
    """The outcomes of the suites of the splits. The one about texts is left out where no clip is scripted."""
    clips, split = Clips.of(table), splits_of(table)
    people, texts, classes = split_suites(config)
    present = [name for name in description["classes"] if name not in description["absent_classes"]]
    tables = [(people, people_table(clips, split)), (classes, class_table(description["splits"], present))]
    if description["texts"]:
        tables.insert(1, (texts, text_table(clips, split)))
    return tuple(checker.check(suite, judged) for suite, judged in tables)


def _validated(layout: Layout, name: str) -> Validated:
    folder = layout.validated(name)
    path = folder / "accepted.parquet"
    if not path.is_file() or not (folder / "result.json").is_file():
        raise DataError(
            "this dataset has no accepted clips",
            where=name,
            seen=f"no file {path}",
            remedy="Its validation has not run, or a critical expectation failed, which `mer run` names",
        )
    return Validated(
        dataset=name,
        accepted=pq.read_table(path, schema=ACCEPTED_SCHEMA),
        result=read_json(folder / "result.json"),
    )
