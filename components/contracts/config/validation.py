"""The section `validation`: what a dataset must have, and how far it may move."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.contracts.config.base import Section


class Drift(Section):
    """How far a dataset may move from what a person last accepted (`mer accept`).

    `components/validation/drift.py` says how each is measured. A bound that chance alone would exceed is raised to what
    chance explains.
    """

    on_drift: Literal["stop", "warn"] = "stop"
    """What follows when a bound is exceeded: `stop` ends the run until the change is accepted or the data are mended,
    `warn` reports it and goes on."""

    max_class_balance: float = Field(0.2, gt=0, le=1)
    """The largest Jensen-Shannon distance (base 2, 0 to 1) between the shares of emotions then and now."""

    max_people_lost: float = Field(0.5, gt=0, le=1)
    """The largest share of the effective number of people (Hill 1973) that may be gone."""

    max_durations: float = Field(0.25, gt=0)
    """The largest Wasserstein-1 distance between the lengths of clips then and now, in median lengths of then."""

    max_coverage: float = Field(0.15, gt=0, le=1)
    """The largest Wasserstein-1 distance between the shares of a clip's steps on which a modality is valid, then and
    now; of each modality, and of the share that is speech."""

    max_features: float = Field(0.5, gt=0)
    """The largest root mean square, over the features of a modality, of the Fréchet distance between then and now, in
    standard deviations."""


class Validation(Section):
    """Thresholds of the data contracts, each of one dataset after the clips in quarantine are out."""

    min_clips: int = Field(8, gt=0)
    """The fewest clips that a dataset may have."""

    min_subjects: int = Field(3, gt=0)
    """The fewest people that a dataset may have; three splits need three."""

    min_clips_per_class: int = Field(2, gt=0)
    """The fewest clips of each class that occurs at all."""

    max_quarantined_fraction: float = Field(0.5, ge=0, le=1)
    """The largest share of the dataset's clips that may be in quarantine."""

    min_speech_fraction: float = Field(0.0, ge=0, le=1)
    """The share of steps that must be speech in a clip with sound; a clip with less goes to quarantine. 0 takes all."""

    drift: Drift = Drift()
    """How far the dataset may move from what was last accepted."""
