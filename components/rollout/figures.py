"""Figures for Prometheus. Ray exports them beside its own and Serve's, with `ray_` before the name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.contracts.errors import MerError
from components.rollout.versions import STATE, with_own_marks
from components.tracking.versions import resolve, tags_of_model

# A tag of the registered model: when a decision about training was last carried out without an error, ISO 8601, UTC.
RETRAINED_AT_TAG = "retrain.at"
RETRAINED, CHAMPION = "mer_last_good_retraining_timestamp_seconds", "mer_champion_registered_timestamp_seconds"
SERVED = "mer_promoted_version_served"
MEANING: Mapping[str, str] = {
    RETRAINED: "When `mer retrain` last ended without an error, also with nothing to do, in seconds since 1970.",
    CHAMPION: "When the version under the rollout's alias was registered, in seconds since 1970.",
    SERVED: "1 where all replicas answer with the version under the rollout's alias, 0 where they do not (yet).",
}
EVERY_S = 60.0


def read_figures(*, registered: str, served: str, alias: str, tracking_uri: str) -> dict[str, float]:
    """Name → value; a figure that nobody has recorded yet is left out.

    Args:
        registered: the model under which versions are registered.
        served: the model whose alias is followed.
        alias: the alias.
        tracking_uri: MLflow's.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    figures = {}
    with suppress(ValueError):  # no such tag, or one written by hand
        ended = tags_of_model(registered, tracking_uri=tracking_uri).get(RETRAINED_AT_TAG, "")
        figures[RETRAINED] = datetime.fromisoformat(ended).timestamp()
    version = resolve(served, alias, tracking_uri=tracking_uri)
    if version is not None:
        figures[SERVED] = float(with_own_marks(version).tags.get(STATE) == "serving")
        if version.created_ms:
            figures[CHAMPION] = version.created_ms / 1000
    return figures


@dataclass
class Figures:
    """Sets the gauges once a minute, whenever it is called; where MLflow does not answer they keep their values.

    This process must be connected to Ray.
    """

    read: Callable[[], Mapping[str, float]]
    gauges: dict[str, Any] = field(default_factory=dict)
    read_at: float = -EVERY_S

    def __call__(self) -> None:
        """Reads and sets, unless that was done within the last minute."""
        if time.monotonic() - self.read_at < EVERY_S:
            return
        self.read_at = time.monotonic()
        from ray.util.metrics import Gauge

        with suppress(MerError):
            for name, value in self.read().items():
                if name not in self.gauges:
                    self.gauges[name] = Gauge(name, description=MEANING[name])
                self.gauges[name].set(value)
