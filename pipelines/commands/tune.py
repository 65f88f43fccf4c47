"""`mer tune`: the catalog brought up to date, then a search for better settings (`components/tuning`).

Its result is a change of `params.yaml`, shown as a patch; the file is changed only where the caller asks for it.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from components.contracts.atomic import atomic_file, read_json
from components.contracts.errors import ModelError
from components.contracts.layout import Layout
from components.tracking.client import check_reachable
from components.tuning.journal import Journal, Outcome, ranked
from components.tuning.space import Space
from pipelines import edit_params
from pipelines import run as pipeline
from pipelines.commands.table import table
from pipelines.project import find_root, load
from pipelines.ray_head import ray_head
from pipelines.repro import reproduce, terminated_like_interrupted
from pipelines.stage import THREADS

NEEDED = "catalog"
SHOWN = 10
PATCH = "best.patch"


def run(*, assignments: Sequence[str] = (), apply: bool = False, root: Path | None = None) -> int:
    """Searches, prints the trials and the patch, and returns the exit code. A search that was stopped goes on.

    Args:
        assignments: values to write into `params.yaml` first, as in `mer run`.
        apply: write the best values into `params.yaml`.
        root: the project; found from the current folder when left out.

    Raises:
        MerError: the configuration is wrong, another run is active in this project, or every trial failed.
        UnavailableError: MLflow does not have all trials; the next call delivers them.
    """
    from components.tuning.search import search

    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    layout = Layout(root or find_root())
    with pipeline.only_run(layout), terminated_like_interrupted(), ExitStack() as stack:
        if assignments:
            pipeline.set_values(layout, assignments)
        params = load(layout.root)
        space = Space.of(params)
        check_reachable(params.tracking, layout.root)
        plan = pipeline.make_plan(layout, params, targets=(NEEDED,))
        cpus = max(params.ray.num_cpus, params.tune.at_once)
        stack.enter_context(ray_head(params.ray.model_copy(update={"num_cpus": cpus})))
        if plan.pending and (code := reproduce(layout.root, (NEEDED,))):
            return code
        catalog = read_json(layout.catalog / "catalog.json")
        journal = Journal.of(space, layout, catalog)
        search(space, journal, layout=layout, resources=params.ray)
        _conclude(space, journal, layout, catalog, apply=apply)
        journal.deliver()
    return 0


def _conclude(space: Space, journal: Journal, layout: Layout, catalog: Mapping[str, Any], *, apply: bool) -> None:
    params = space.params
    order = ranked(journal.outcomes, epochs=params.train.epochs)
    if not order or len(order[0].scores) < params.train.epochs:
        raise ModelError("no trial trained all of its epochs", where="tune", remedy="Run `mer tune` again: it goes on")
    best, present = order[0], None if space.present is None else space.settled(space.present)
    print(table(("trial", params.tune.score, "epochs", *space.dimensions), _rows(order[:SHOWN], present), right=(1, 2)))
    held_out = catalog["splits"]["calibration"]
    people = f"{held_out['clips']} clips of {held_out['subjects']} people"
    print(f"Scores of the calibration split ({people}), which chose the best. No clip of the test split was read.")
    for outcome in (outcome for outcome in journal.outcomes.values() if outcome.error):
        print(f"trial {outcome.name} failed: {outcome.error}")
    if best.values == present:
        print("The present settings are the best of these: nothing to change.")
        return
    assignments = assignments_of(best.values)
    if apply:
        pipeline.set_values(layout, assignments)
        return
    patch = patch_of(layout.params, assignments)
    with atomic_file(journal.folder / PATCH) as beside:
        beside.write_text(patch, encoding="utf-8")
    print(f"\n{patch}")
    place = (journal.folder / PATCH).relative_to(layout.root)
    print(f"params.yaml is as it was. `mer tune --apply` writes this change, and so does `git apply {place}`.")


def assignments_of(values: Mapping[str, Any]) -> list[str]:
    """Values as `--set` takes them."""
    texts = {name: yaml.safe_dump(value).removesuffix("...\n").strip() for name, value in values.items()}
    return [f"{name}={text}" for name, text in texts.items()]


def patch_of(path: Path, assignments: Sequence[str]) -> str:
    """The change of a `params.yaml` by assignments as a unified diff; the file stays as it is."""
    from components.datasets.registry import names

    with tempfile.TemporaryDirectory() as scratch:
        changed = Path(shutil.copyfile(path, Path(scratch) / path.name))
        edit_params.apply(changed, assignments, names())
        before, after = (file.read_text(encoding="utf-8").splitlines(keepends=True) for file in (path, changed))
    return "".join(difflib.unified_diff(before, after, f"a/{path.name}", f"b/{path.name}"))


def _rows(outcomes: Sequence[Outcome], present: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    return [
        (
            f"{outcome.name}{' (present)' if outcome.values == present else ''}",
            f"{outcome.scores[-1]:.3f}",
            str(len(outcome.scores)),
            *(str(value) for value in outcome.values.values()),
        )
        for outcome in outcomes
    ]
