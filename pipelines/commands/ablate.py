"""`mer ablate`: the catalog brought up to date, then every variant by cross-validation (`ablation/stage`).

It is not a stage of the DAG: its results help to choose the configuration, and no stage depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from components.contracts.config import Ablate, Params, section_error
from components.contracts.errors import ModelError
from components.contracts.layout import Layout
from components.tracking.client import check_reachable
from pipelines import run as pipeline
from pipelines.project import find_root, load
from pipelines.ray_head import ray_head
from pipelines.repro import reproduce, terminated_like_interrupted
from pipelines.stage import THREADS

NEEDED = "catalog"


def run(*, assignments: Sequence[str] = (), overrides: Mapping[str, Any], root: Path | None = None) -> int:
    """Compares the variants, prints the table and the path of the report, and returns the exit code.

    Args:
        assignments: values to write into `params.yaml` first, as in `mer run`.
        overrides: settings of the section `ablate` for this call alone; None: not set.
        root: the project; found from the current folder when left out.

    Raises:
        MerError: the configuration is wrong, another run is active in this project, or the default could not be
            trained.
    """
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    layout = Layout(root or find_root())
    with pipeline.only_run(layout), terminated_like_interrupted(), ExitStack() as stack:
        if assignments:
            pipeline.set_values(layout, assignments)
        params = configured(load(layout.root), overrides)
        check_reachable(params.tracking, layout.root)
        plan = pipeline.make_plan(layout, params, targets=(NEEDED,))
        workers = params.ablate.workers
        if plan.needs_ray or workers:
            cpus = max(params.ray.num_cpus, workers)
            stack.enter_context(ray_head(params.ray.model_copy(update={"num_cpus": cpus})))
        if plan.pending:
            code = reproduce(layout.root, (NEEDED,))
            if code != 0:
                return code
        return _compare(params, layout)


def configured(params: Params, overrides: Mapping[str, Any]) -> Params:
    """The configuration with this call's own settings. Raises ConfigError for one that is not allowed."""
    from pydantic import ValidationError

    chosen = {name: value for name, value in overrides.items() if value is not None}
    try:
        ablate = Ablate.model_validate({**params.ablate.model_dump(), **chosen})
    except ValidationError as error:
        raise section_error(error, Ablate, where="mer ablate") from error
    return params.model_copy(update={"ablate": ablate})


def _compare(params: Params, layout: Layout) -> int:
    from components.ablation import stage
    from components.ablation.report import to_markdown

    report = stage.run(params, layout)
    print(to_markdown(report))
    folder = (layout.state / "ablation" / report.name).relative_to(layout.root)
    print(f"Report  {folder.as_posix()}/report.html")
    print(f"MLflow  `make serve` opens the UI, run 'ablation {report.name}'")
    return ModelError.exit_code if report.failed else 0
