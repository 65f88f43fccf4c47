"""Stage `validation`: data contracts on clips and features; what fails goes to quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.contracts.config import Params
from components.contracts.layout import Layout
from pipelines.stage import Summary, run_stage

STAGE = "validation"


def run(dataset: str) -> Summary:
    """Runs the stage for one dataset of `params.yaml`."""

    def work(params: Params, layout: Layout) -> Mapping[str, Any]:
        from components.validation import stage

        return stage.run(dataset, params, layout)

    return run_stage(STAGE, work, item=dataset)
