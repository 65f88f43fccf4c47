"""Stage `train`: the catalog's features → a trained model, tracked in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.contracts.config import Params
from components.contracts.layout import Layout
from pipelines.stage import Summary, run_stage

STAGE = "train"


def run() -> Summary:
    """Runs the stage."""

    def work(params: Params, layout: Layout) -> Mapping[str, Any]:
        from components.training import stage

        return stage.run(params, layout)

    return run_stage(STAGE, work)
