"""Clip scores from the mean and spread of features over time: what a few hundred clips can teach best.

Where clips are few and short, the statistics of frozen features through one hidden layer with strong noise generalise
to unseen people better than anything that learns over time (statistics pooling: Snyder et al., ICASSP 2018, section
3.1). They do not depend on order, which is what the temporal path is for.

A step is read the same way where it has a label of its own, as utterances in a video do: by its features alone, without
those before and after it (`StepFeatures`).

Legend: B clips, T steps, D feature width, S statistics (2 · D of a clip, D of a step), W hidden width, I all
statistics, K classes. Masks are True = valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from components.model.base import MixedTargets
from components.model.temporal import zero_invalid

# Length of a modality's standardised statistics as inputs of the hidden layer, whatever their number: a modality of 35
# features then weighs as much as one of 384.
GAIN = 10.0
# Standard deviations over clips at which a statistic is clipped.
BOUND = 6.0
SMALLEST_SPREAD = 1e-4
# Steps from which on features have a spread. The standard deviation of n independent values is off by a share of
# 1 / sqrt(2 (n - 1)), here 35 %; neighbouring steps resemble each other, so that of fewer of them is nearly always far
# too small.
MIN_SPREAD_STEPS = 5
# The share of the usual variance within a clip below which nothing in it changes but the noise of a codec. Of the faces
# in 59 photographs saved as videos nine in ten lie below it, those of recorded people at 0.4 and more
# (docs/benchmarks/alignment.md).
STILL_SHARE = 0.01


class RunningMoments(NamedTuple):
    """A modality of a clip so far, in float64 so that long streams do not drift: valid steps (B,), sums (B, D) of the
    features and of their squares."""

    steps: Tensor
    total: Tensor
    squares: Tensor


class MomentsOfClips:
    """Those of N clips of one modality, in three tensors: many small ones, made between the large ones of clips that
    are read, would keep the memory of the large ones from being used again."""

    def __init__(self, clips: int, width: int) -> None:
        sizes = ((clips,), (clips, width), (clips, width))
        self._all = RunningMoments(*(torch.zeros(size, dtype=torch.float64) for size in sizes))

    def put(self, place: int, moments: RunningMoments) -> None:
        """Those of one clip, (1,) and (1, D)."""
        for own, given in zip(self._at(place), moments, strict=True):
            own.copy_(given)

    def __iter__(self) -> Iterator[RunningMoments]:
        return map(self._at, range(len(self._all.steps)))

    def _at(self, place: int) -> RunningMoments:
        return RunningMoments(*(values[place : place + 1] for values in self._all))


class Standardised(nn.Module):
    """Statistics of one modality in standard deviations over the training clips.

    `centre` and `spread` (S,) belong to the weights but are not learned: they are set once, before training. A
    statistic that did not vary over the training clips has spread 0 and becomes 0.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.centre = nn.Parameter(torch.zeros(size), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(size), requires_grad=False)

    def standardised(self, values: Tensor) -> Tensor:
        """(…, S) → (…, S), within `BOUND`."""
        varies_S = self.spread > 0
        scaled = torch.where(varies_S, (values - self.centre) / torch.where(varies_S, self.spread, 1.0), 0.0)
        return scaled.clamp(-BOUND, BOUND)

    @property
    def gain(self) -> Tensor:
        """The factor that brings the statistics to the length `GAIN`, a scalar."""
        return GAIN / (self.spread > 0).sum().clamp(min=1).sqrt()


class ClipStatistics(Standardised):
    """Mean and standard deviation of one modality over its valid steps, standardised over the training clips."""

    def __init__(self, width: int) -> None:
        super().__init__(2 * width)
        self.width = width

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, D), (B, T) → (B, S); zeros, the average clip, where no step is valid, and for the spread where the
        valid steps have none (`has_spread`)."""
        return self.advance(x_BTD, mask_BT, self.start(len(x_BTD)))[0]

    def start(self, clips: int) -> RunningMoments:
        """The sums of a clip before its first step."""
        zeros_BD = torch.zeros(clips, self.width, dtype=torch.float64, device=self.centre.device)
        return RunningMoments(zeros_BD[:, 0].clone(), zeros_BD, zeros_BD.clone())

    def advance(self, x_BTD: Tensor, mask_BT: Tensor, moments: RunningMoments) -> tuple[Tensor, RunningMoments]:
        """`forward` over all steps so far, of which these are the next ones, and the sums with them."""
        # In float64 before the square: a spread far smaller than the mean is lost otherwise.
        x_BTD = zero_invalid(x_BTD, mask_BT).double()
        moments = RunningMoments(
            moments.steps + mask_BT.sum(1), moments.total + x_BTD.sum(1), moments.squares + x_BTD.square().sum(1)
        )
        statistics_BS = self.standardised(plain(moments).float())
        present_B = moments.steps > 0
        exists_B2 = torch.stack([present_B, has_spread(moments, self._usual_variance)], dim=1)
        exists_BS = exists_B2.repeat_interleave(self.width, dim=1)
        return torch.where(exists_BS, statistics_BS, 0.0), moments

    @property
    def _usual_variance(self) -> Tensor:
        """The variance within a training clip, a scalar: the mean over features and clips."""
        return (self.centre.square() + self.spread.square())[self.width :].mean()

    @torch.no_grad()
    def set_from(self, clips: Iterable[tuple[Tensor, Tensor]]) -> None:
        """`set_from_moments` of (T, D) and (T,) of each training clip."""
        self.set_from_moments([moments_of(x_TD, mask_T) for x_TD, mask_T in clips])

    @torch.no_grad()
    def set_from_moments(self, moments: Iterable[RunningMoments]) -> None:
        """Sets `centre` and `spread` from those of each training clip; see `standardisation`."""
        centre_S, spread_S = standardisation(moments, self.width)
        self.centre.copy_(centre_S)
        self.spread.copy_(spread_S)


class StepFeatures(Standardised):
    """One modality's features at each step, standardised over all valid steps of the training clips."""

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, D), (B, T) → (B, T, D); zeros, the average step, where the modality is not valid."""
        return zero_invalid(self.standardised(zero_invalid(x_BTD, mask_BT)), mask_BT)

    @torch.no_grad()
    def set_from(self, clips: Iterable[tuple[Tensor, Tensor]]) -> None:
        """`set_from_moments` of (T, D) and (T,) of each training clip."""
        self.set_from_moments(moments_of(x_TD, mask_T) for x_TD, mask_T in clips)

    @torch.no_grad()
    def set_from_moments(self, moments: Iterable[RunningMoments]) -> None:
        """Sets `centre` and `spread` from those of each training clip, as if they were one long clip."""
        joined = ClipStatistics(self.size).start(1)
        for of_clip in moments:
            joined = RunningMoments(*(total + part for total, part in zip(joined, of_clip, strict=True)))
        centre_D, spread_D = plain(joined)[0].float().chunk(2)
        self.centre.copy_(centre_D)
        self.spread.copy_(torch.where(spread_D < SMALLEST_SPREAD, 0.0, spread_D))


Layer = TypeVar("Layer", bound=Standardised)


class StatisticsHead(nn.Module, Generic[Layer]):
    """Class scores of clips, or of steps, from their statistics: one hidden layer.

    In training, noise is added to the statistics, and each item is mixed with a different one of the batch (mixup:
    Zhang et al. 2018, arXiv 1710.09412, eq. 1).

    Args:
        layers: what gives the statistics of each modality.
        noise: standard deviation of the noise, in standard deviations of a statistic over the training clips.
        mixup: alpha of the Beta(alpha, alpha) from which the shares of two clips are drawn; 0 turns mixing off.
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        classes: int,
        *,
        hidden: int,
        dropout: float,
        noise: float,
        mixup: float,
    ) -> None:
        super().__init__()
        self.noise, self.mixup = noise, mixup
        self.statistics = nn.ModuleDict(layers)
        self.hidden = nn.Linear(sum(layer.size for layer in layers.values()), hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, classes)

    @property
    def by_modality(self) -> dict[str, Layer]:
        """Each modality's statistics."""
        return {name: cast(Layer, layer) for name, layer in self.statistics.items()}

    def forward(self, statistics: Mapping[str, Tensor]) -> Tensor:
        """{m: (…, S)} → (…, K)."""
        return self._scores(self._inputs(statistics))

    def mixed_targets(self, statistics: Mapping[str, Tensor]) -> MixedTargets:
        """{m: (B, S)} of clips, or of steps side by side → training targets, with noise and mixing."""
        inputs_BI = self._inputs(
            {name: values + self.noise * torch.randn_like(values) for name, values in statistics.items()}
        )
        item_B = torch.arange(len(inputs_BI), device=inputs_BI.device)
        if not self.mixup:
            return MixedTargets(self._scores(inputs_BI), item_B, torch.ones_like(inputs_BI[:, 0]))
        # One share and one order per batch, as its authors do; the larger share is the clip's own.
        drawn = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
        share = max(drawn, 1 - drawn)
        other_B = torch.randperm(len(inputs_BI)).to(inputs_BI.device)
        scores_BK = self._scores(share * inputs_BI + (1 - share) * inputs_BI[other_B])
        ones_B = torch.ones_like(inputs_BI[:, 0])
        return MixedTargets(
            torch.cat([scores_BK, scores_BK]),
            torch.cat([item_B, other_B]),
            torch.cat([share * ones_B, (1 - share) * ones_B]),
        )

    def _inputs(self, statistics: Mapping[str, Tensor]) -> Tensor:
        """{m: (…, S)} → (…, I): all modalities side by side, each scaled to the same length."""
        return torch.cat([statistics[name] * layer.gain for name, layer in self.by_modality.items()], dim=-1)

    def _scores(self, inputs_BI: Tensor) -> Tensor:
        return self.out(self.dropout(nn.functional.gelu(self.hidden(inputs_BI))))


@torch.no_grad()
def moments_of(x_TD: Tensor, mask_T: Tensor) -> RunningMoments:
    """Of one clip, as `ClipStatistics.advance` has them after it."""
    x_BTD, mask_BT = x_TD.unsqueeze(0), mask_T.unsqueeze(0)
    x_BTD = zero_invalid(x_BTD, mask_BT).double()
    # A sum that begins with 0 is never -0.
    return RunningMoments(mask_BT.sum(1).double(), x_BTD.sum(1) + 0.0, x_BTD.square().sum(1))


def plain(moments: RunningMoments) -> Tensor:
    """(B, S): the mean beside the standard deviation, in float64; zeros without a valid step."""
    count_B1 = moments.steps.clamp(min=1).unsqueeze(-1)
    mean_BD = moments.total / count_B1
    return torch.cat([mean_BD, (moments.squares / count_B1 - mean_BD.square()).clamp(min=0).sqrt()], dim=-1)


def variance(moments: RunningMoments) -> Tensor:
    """(B,) the mean variance of the features over the valid steps; zeros without a valid step."""
    width = moments.total.shape[-1]
    return plain(moments)[:, width:].square().mean(-1)


def has_spread(moments: RunningMoments, usual_variance: Tensor) -> Tensor:
    """(B,) True where the features of a clip have a spread.

    Args:
        moments: of the clips.
        usual_variance: the mean of `variance` over training clips that have a spread, a scalar.
    """
    return (moments.steps >= MIN_SPREAD_STEPS) & (variance(moments) >= STILL_SHARE * usual_variance)


def standardisation(clips: Iterable[RunningMoments], width: int) -> tuple[Tensor, Tensor]:
    """`centre` and `spread` (S,) for `ClipStatistics`, from one modality of each training clip.

    A clip without a valid step does not count, nor one without a spread for the latter; both are 0 where none counts.
    """
    moments = [of_clip for of_clip in clips if of_clip.steps.any()]
    if not moments:
        return torch.zeros(2 * width), torch.zeros(2 * width)
    joined = RunningMoments(*(torch.cat(parts) for parts in zip(*moments, strict=True)))
    rows_NS = plain(joined)
    # Over all columns both times: rounding must not depend on how many columns are summed.
    of_mean, of_spread = _centre_and_spread(rows_NS), _centre_and_spread(rows_NS[_with_spread(joined)])
    centre_S, spread_S = (
        torch.cat([mean_S[:width], deviation_S[width:]]) for mean_S, deviation_S in zip(of_mean, of_spread, strict=True)
    )
    spread_S = torch.where(spread_S < SMALLEST_SPREAD, torch.zeros_like(spread_S), spread_S)
    return centre_S.float(), spread_S.float()


def _with_spread(moments: RunningMoments) -> Tensor:
    """(N,) True for the clips that have a spread, beside the usual one of the same clips."""
    chosen_N = moments.steps >= MIN_SPREAD_STEPS
    while chosen_N.any():  # without the stillest clips the usual variance is larger, so that others may fall out
        kept_N = has_spread(moments, variance(moments)[chosen_N].mean())
        if torch.equal(kept_N, chosen_N):
            break
        chosen_N = kept_N
    return chosen_N


def _centre_and_spread(rows_NS: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (S,) over rows; zeros without a row."""
    if not len(rows_NS):
        return rows_NS.new_zeros(rows_NS.shape[1]), rows_NS.new_zeros(rows_NS.shape[1])
    return rows_NS.mean(0), rows_NS.std(0, correction=0)
