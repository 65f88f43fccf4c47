"""`mer accept`: makes the present data the baseline with which later data are compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.atomic import read_json, write_json
from components.contracts.errors import ContractError, DataError
from components.contracts.layout import Layout
from pipelines.project import find_root, load


def accept(*, dataset: str | None = None, root: Path | None = None) -> str:
    """Writes `baselines/<dataset>.json` for the datasets in use, or for one, from their last validation.

    Drift from an earlier baseline is not an obstacle: the command exists to accept it.

    Raises:
        DataError: a dataset has not been validated. ContractError: a critical expectation other than drift is broken.
    """
    layout = Layout(root or find_root())
    names = load(layout.root).datasets if dataset is None else (dataset,)
    profiles = {name: _profile(layout, name) for name in names}
    lines = []
    for name, profile in profiles.items():
        path = layout.baseline(name)
        before = read_json(path) if path.is_file() else None
        write_json(path, profile)
        now = _size(profile)
        sizes = f"{_size(before)} → {now}" if before is not None and before != profile else now
        lines.append(f"{name}: {sizes}{', as accepted before' if before == profile else ''}")
    folder = layout.baseline("any").parent.name
    return "\n".join([*lines, f"Commit {folder}/: from the next `mer run` on, data are compared with this baseline"])


def _profile(layout: Layout, name: str) -> dict[str, Any]:
    folder = layout.validated(name)
    if not (folder / "result.json").is_file() or not (folder / "profile.json").is_file():
        raise DataError("this dataset has not been validated", where=name, remedy="Run `mer run` first")
    broken = [
        f"{suite}.{expectation}"
        for suite, outcome in read_json(folder / "result.json")["suites"].items()
        for expectation, failure in outcome["failed"].items()
        if failure["level"] == "critical"
    ]
    if broken:
        raise ContractError(
            "a critical expectation is broken, so these data cannot be accepted",
            where=name,
            seen=", ".join(broken),
            remedy="Correct what `mer run` reports first",
        )
    return dict(read_json(folder / "profile.json"))


def _size(profile: Mapping[str, Any]) -> str:
    return f"{profile['clips']} clips of {profile['people']} people"
