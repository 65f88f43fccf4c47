"""The ways in which clips, and utterances in them, are read beside each other: one implementation for both.

Legend: B clips, T steps, S statistics, K classes. A shape (…, K) is (B, K) of clips or (B, T, K) of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from components.model.base import MixedTargets
from components.model.statistics import StatisticsHead


class Ways(NamedTuple):
    """Scores (…, K), and where they average several ways, those of each and its training targets."""

    scores: Tensor
    by_way: dict[str, Tensor]
    mixed: dict[str, MixedTargets]


def one_way(scores: Tensor) -> Ways:
    """What is read in one way."""
    return Ways(scores, {}, {})


def statistics_and(
    head: StatisticsHead[Any],
    statistics: Mapping[str, Tensor],
    temporal: Tensor | None,
    *,
    close: Callable[[Tensor], Tensor],
    valid: Tensor | None = None,
) -> Ways:
    """The mean of the log-probabilities of what the statistics and the temporal model say.

    Args:
        head: of the statistics.
        statistics: {m: (…, S)}.
        temporal: (…, K); None to read the statistics alone.
        close: sets the scores of classes without training clips.
        valid: (B, T), of steps: those that training targets are made of; None of clips, which all count.
    """
    by_way = {"statistics": close(head(statistics))}
    mixed = {}
    if head.training:
        targets = head.mixed_targets(statistics) if valid is None else _of_steps(head, statistics, valid)
        mixed["statistics"] = targets._replace(scores=close(targets.scores))
    if temporal is not None:
        by_way["temporal"] = close(temporal)
    mean = torch.stack([scores.float().log_softmax(-1) for scores in by_way.values()]).mean(0)
    return Ways(close(mean), by_way, mixed)


def _of_steps(head: StatisticsHead[Any], statistics: Mapping[str, Tensor], valid_BT: Tensor) -> MixedTargets:
    """Training targets of the valid steps: padding is not mixed in."""
    step_N = valid_BT.flatten().nonzero().squeeze(-1)
    targets = head.mixed_targets({name: values.flatten(0, 1)[step_N] for name, values in statistics.items()})
    return targets._replace(item=step_N[targets.item])
