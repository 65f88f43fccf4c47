"""The section `retrain`: when `mer retrain --if-needed` trains again."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import Section


class Retrain(Section):
    """When to train again. What changed in data, labels, settings or code is always a cause."""

    max_age_days: float | None = Field(None, gt=0)
    """The largest age of the version that is served, in days; null: any."""
