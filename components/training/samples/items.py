"""The items of the training loop: transformed clips, their random changes in training, and padded batches of them.

Every random change is a pure function of (seed, epoch, clip, how often it came before in that epoch), so it does not
depend on which worker computes it, nor on the steps before an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.catalog.cases import Case
from components.contracts.errors import DataError
from components.contracts.labels import UNLABELLED
from components.training.samples.order import generator


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded clips: {m: (B, T, D)}, {m: (B, T)}, (B, T), (B,), (B, 2) with NaN for clips that are not rated.

    Padding has every mask False and no label.
    """

    features: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    step_labels: Tensor
    clip_labels: Tensor
    valence_arousal: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """A copy in page-locked memory, from which a GPU copies by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            features={name: change(values) for name, values in self.features.items()},
            masks={name: change(mask) for name, mask in self.masks.items()},
            step_labels=change(self.step_labels),
            clip_labels=change(self.clip_labels),
            valence_arousal=change(self.valence_arousal),
        )


def collate(items: Sequence[Case]) -> Batch:
    """Pads clips to the longest. Raises DataError when they differ in modalities or in number of classes."""
    steps = max(item.steps for item in items)
    names = items[0].features.keys()
    for item in items:
        if item.features.keys() != names:
            raise DataError(
                "clips of a batch differ in modalities",
                where=item.clip_id,
                seen=sorted(item.features),
                allowed=sorted(names),
            )
    features, masks = {}, {}
    for name in names:
        width = items[0].features[name].shape[1]
        values = np.zeros((len(items), steps, width), dtype=np.float32)
        mask = np.zeros((len(items), steps), dtype=bool)
        for row, item in enumerate(items):
            values[row, : item.steps] = item.features[name]
            mask[row, : item.steps] = item.masks[name]
        features[name], masks[name] = torch.from_numpy(values), torch.from_numpy(mask)
    labels = np.full((len(items), steps), UNLABELLED, dtype=np.int64)
    for row, item in enumerate(items):
        labels[row, : item.steps] = item.step_labels
    return Batch(
        features=features,
        masks=masks,
        step_labels=torch.from_numpy(labels),
        clip_labels=torch.tensor([item.clip_label for item in items], dtype=torch.int64),
        valence_arousal=torch.tensor([item.valence_arousal for item in items], dtype=torch.float32),
    )


@dataclass(frozen=True, kw_only=True)
class Augment:
    """The random changes of training.

    Attributes:
        max_steps: a longer clip is cut to a random window of this many steps.
        modality_dropout: probability of each present modality to be hidden for the whole clip; at least one stays.
        noise: standard deviation of Gaussian noise on the standardised features.
        pooled_share: probability of a clip to be standardised by the statistics of all training clips, where it has
            those of its dataset.
    """

    max_steps: int
    modality_dropout: float
    noise: float
    seed: int
    pooled_share: float = 0.0

    def __call__(self, item: Case, *, epoch: int, index: int, earlier: int = 0) -> Case:
        """The clip as changed for this epoch, in which it came `earlier` times before."""
        place = (epoch, index, earlier) if earlier else (epoch, index)
        item = self._normalised(item, place)
        rng = generator(self.seed, "augment", *place)
        if item.steps > self.max_steps:
            item = cut(item, int(rng.integers(item.steps - self.max_steps + 1)), self.max_steps)
        masks = dict(item.masks)
        present = sorted(name for name, mask in masks.items() if mask.any())
        hide = rng.random(len(present)) < self.modality_dropout
        if present and hide.all():
            hide[rng.integers(len(present))] = False
        for name, hidden in zip(present, hide, strict=True):
            if hidden:
                masks[name] = np.zeros_like(masks[name])
        if not self.noise:
            return replace(item, masks=masks)
        features = {
            name: item.features[name]
            + np.float32(self.noise) * rng.standard_normal(item.features[name].shape, dtype=np.float32)
            for name in sorted(item.features)
        }
        return replace(item, masks=masks, features=features)

    def _normalised(self, item: Case, place: tuple[int, ...]) -> Case:
        """By the statistics of the clip's dataset, or of all training clips."""
        if item.pooled is None:
            return item
        as_unknown = generator(self.seed, "normalise", *place).random() < self.pooled_share
        return replace(item, features=item.pooled if as_unknown else item.features, pooled=None)


def cut(item: Case, first: int, steps: int) -> Case:
    """Steps `[first, first + steps)` of a clip."""
    window = slice(first, first + steps)
    return replace(
        item,
        features=_part(item.features, window),
        pooled=None if item.pooled is None else _part(item.pooled, window),
        masks={name: mask[window] for name, mask in item.masks.items()},
        step_labels=item.step_labels[window],
    )


def _part(features: Mapping[str, NDArray[np.float32]], window: slice) -> dict[str, NDArray[np.float32]]:
    return {name: values[window] for name, values in features.items()}
