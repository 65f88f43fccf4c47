"""The section `promotion`: how a version must compare with the champion to challenge it (`mer gates`)."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import Section


class Promotion(Section):
    """The comparison with the champion, on the same held-out people. A loss is the champion's figure minus the
    version's; the whole interval of the paired difference must keep its bound."""

    auto_promote: bool = False
    """Whether a version that passes `mer gates` gets the rollout's alias by itself; otherwise a person moves it."""

    max_loss: float = Field(0.05, ge=0, le=1)
    """The largest loss of macro-F1."""

    max_slice_loss: float = Field(0.15, ge=0, le=1)
    """The largest loss of accuracy in one group of people (or one dataset), for the worst of them."""

    max_ece_rise: float = Field(0.1, ge=0, le=1)
    """The most by which the expected calibration error may rise."""

    max_missing_modality_loss: float = Field(0.15, ge=0, le=1)
    """The largest loss of macro-F1 where a modality is missing from every clip, for the worst one."""

    max_latency_ratio: float = Field(1.5, gt=0)
    """The median time that the model takes for a clip, as a multiple of the champion's; encoders are not counted."""

    max_size_ratio: float = Field(2.0, gt=0)
    """The size of the weights, as a multiple of the champion's."""
