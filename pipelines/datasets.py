"""Stage `datasets`: a corpus on disk, or rendered, → its clip table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.contracts.config import Params
from components.contracts.layout import Layout
from pipelines.stage import Summary, run_stage

STAGE = "datasets"


def run(dataset: str) -> Summary:
    """Runs the stage for one dataset of `params.yaml`."""

    def work(params: Params, layout: Layout) -> Mapping[str, Any]:
        from components.datasets import stage

        return stage.run(dataset, params, layout)

    return run_stage(STAGE, work, item=dataset)
