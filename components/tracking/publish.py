"""The evaluation in the MLflow run of its training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.config import Tracking
from components.tracking.names import flat_figures
from components.tracking.runs import run_of

ARTIFACTS = "evaluation"
PREFIX = "test"
# Figures of a run are for comparing runs at a glance; the whole tree is in metrics.json beside the report.
LOGGED = (
    "clip",
    "step",
    "subsets",
    "baselines",
    "compared",
    "calibration",
    "contradiction",
    "affect",
    "episodes",
    "slices",
)
SUFFIXES = frozenset({".html", ".png", ".json", ".csv"})


def publish(folder: Path, figures: Mapping[str, Any], *, tracking: Tracking, root: Path, model_sha256: str) -> str:
    """Logs figures, plots and the report of `folder`; returns the run's id. Doing it again replaces them."""
    run = run_of(tracking, root, model_sha256)
    flat = flat_figures({name: figures[name] for name in LOGGED if name in figures})
    run.metrics({f"{PREFIX}/{name}": value for name, value in sorted(flat.items())})
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in SUFFIXES:
            inside = path.relative_to(folder).parent.as_posix()
            run.file(path, to=ARTIFACTS if inside == "." else f"{ARTIFACTS}/{inside}")
    return run.run_id
