"""What a training records, acted on while it does so and compared when it is in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from components.tracking.client import Client
from components.tracking.spooled import SpooledRun


def in_epochs(monkeypatch: pytest.MonkeyPatch, actions: Mapping[int, Callable[[], object]]) -> None:
    """Does something when an epoch is reported, before it is recorded."""
    metrics = SpooledRun.metrics

    def acting(self: SpooledRun, values: Mapping[str, float], *, step: int = 0) -> None:
        if step in actions and "loss" in values:
            actions[step]()
        metrics(self, values, step=step)

    monkeypatch.setattr(SpooledRun, "metrics", acting)


def check_recorded_alike(client: Client, runs: Sequence[Any], *, epochs: int) -> None:
    """Every run is finished and has every value of every step, once, but for times and speeds the same in all."""
    assert {run.info.status for run in runs} == {"FINISHED"}
    for name in runs[0].data.metrics:
        steps = [
            [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)] for run in runs
        ]
        if name != "steps_per_s" and not name.startswith("time/"):
            assert all(values == steps[0] for values in steps), name
    for run in runs:
        assert run.data.metrics.keys() == runs[0].data.metrics.keys()
        losses = client.get_metric_history(run.info.run_id, "loss")
        assert [metric.step for metric in losses] == list(range(epochs))
