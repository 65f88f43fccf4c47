"""The section `retrain`: when `mer retrain --if-needed` trains again."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import Section


class Retrain(Section):
    """When to train again. What changed in data, labels, settings or code is always a cause."""

    max_age_days: float | None = Field(None, gt=0)
    """The largest age of the version that is served, in days; null: any."""

    drift_false_alarms: float = Field(0.01, gt=0, lt=1)
    """The largest chance that one `mer drift` reports drift where there is none."""

    drift_least: float = Field(0.1, ge=0, le=1)
    """How far a measure must have moved to be reported: the Jensen-Shannon distance of its counts, 0 to 1."""
