"""The Data Docs of a model's training data, in its MLflow run: one self-contained page, and those of each expectation.

The page is rendered anew from the results that the run reads, so it shows exactly these data, on whichever machine
they were validated. The pages of each expectation are added where they exist locally and show the same results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.contracts.atomic import read_json
from components.contracts.layout import Layout
from components.tracking.spooled import SpooledRun
from components.validation.docs import CATALOG, shows, single_page

FOLDER = "data_docs"
PAGE = f"{FOLDER}/index.html"
TAG = "mer.data_docs"
# Great Expectations also has fonts and films; pages read well without.
SUFFIXES = (".html", ".css")


def log_data_docs(tracked: SpooledRun, layout: Layout, catalog: Mapping[str, Any]) -> None:
    """Logs the pages below `data_docs`, and links the first one from the run's description and a tag.

    Args:
        tracked: the run.
        catalog: `catalog.json`, whose datasets were validated on this machine or elsewhere.
    """
    results = {name: read_json(layout.validated(name) / "result.json") for name in catalog["datasets"]}
    tracked.text(single_page(catalog, results), PAGE)
    marks = {**{name: result["fingerprint"] for name, result in results.items()}, CATALOG: catalog["sha256"]}
    for name, mark in sorted(marks.items()):
        folder = shows(layout, name, mark)
        for path in sorted(folder.rglob("*")) if folder is not None else ():
            if path.suffix in SUFFIXES and path.is_file():
                within = path.parent.relative_to(layout.data_docs).as_posix()
                tracked.file(path, to=f"{FOLDER}/{within}")
    stopped = [name for name, result in results.items() if not result["success"]]
    moved = [name for name, result in results.items() if any(measure["moved"] for measure in _measures(result))]
    words = [
        f"{len(results)} datasets validated",
        *([f"stopped: {', '.join(stopped)}"] if stopped else []),
        *([f"moved since they were accepted: {', '.join(moved)}"] if moved else []),
    ]
    tracked.tags({TAG: PAGE})
    tracked.describe(f"[Data Docs]({tracked.link(PAGE)}): {'; '.join(words)}.")


def _measures(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(result["drift"]["measures"].values())
