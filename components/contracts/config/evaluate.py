"""The sections `evaluate` and `gates`: what is measured on people nobody learned from, and what it must show."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import EarlierName, Section


class Evaluate(Section):
    """Measurement on held-out people, and the thresholds that are fitted on the calibration split for it."""

    bootstrap: int = Field(1000, gt=0)
    """Draws of people, with replacement, behind each interval."""

    confidence: float = Field(0.95, gt=0, lt=1)
    """The level of the intervals."""

    calibration_bins: int = Field(15, gt=1)
    """Bins of equal width over the confidence, for the expected calibration error (Guo et al. 2017, ICML, eq. 3) and
    the reliability diagrams."""

    outlier_quantile: float = Field(0.99, gt=0, lt=1)
    """The share of clips of held-out people that count as like the training data: the outlier threshold is this
    conformal quantile (Vovk et al. 2005, section 4.2) of their distances from it."""

    contradiction_quantile: float = Field(0.9, gt=0, lt=1)
    """The share of ordinary calibration clips that conflict less than a clip must for an answer to report that its
    modalities contradict each other."""

    compare_with: EarlierName | None = "starter"
    """The version that the report compares with on the test split: `starter`, the one that comes with this code (no
    comparison where an installation has none), the number of a registered version, or the folder of a bundle; null
    compares with none."""

    timelines: int = Field(6, ge=0)
    """Test clips that the report draws over time."""


class Gates(Section):
    """What a version must show before it may be promoted. Each is a bound on the test split, which the whole interval
    of the figure must keep: an interval that reaches across the bound is not enough evidence, and does not pass."""

    min_gain_over_majority: float = Field(0.1, ge=0, le=1)
    """The least that macro-F1 must exceed the macro-F1 of always answering the most frequent class of the training
    split."""

    max_ece: float = Field(0.25, gt=0, le=1)
    """The largest expected calibration error (Guo et al. 2017, ICML, eq. 3), after calibration."""

    max_missing_modality_drop: float = Field(0.3, gt=0, le=1)
    """The most macro-F1 by which the answer without one modality may fall short of what one of the remaining ones gives
    alone, for the worst modality. What the remaining ones cannot know is not counted: on scripted sentences a version
    of voice and words can tell nothing without the voice."""
