"""The order of clips in training: a pure function of (seed, epoch), the same for any number of workers.

The *global* batch is fixed. A worker takes every `world`-th clip of it, so the number of workers changes where a clip
is computed, and not which clips a step learns from: its gradient is the same up to rounding, and up to what dropout
hides, which each worker draws for its own clips. *Samples consumed globally* alone determines where an interrupted run
resumes.

**Quality of the shuffle.** Without `train.like_length_batches` it is the full permutation, whether clips are in memory
or on disk: of two clips in a batch, the share that was together in the epoch before is (B − 1) / (N − 1), which is
1.5 % for N = 2,048 clips in batches of B = 32. With clips of like length together (`Alike`), taken from 2, 8 and 32 of
these 64 batches, it is 2.7, 9.0 and 34 % where all lengths differ (`tests/training/samples/test_order.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case, labels_of
from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.training.samples.balance import Draws


@dataclass(frozen=True, kw_only=True)
class GlobalBatch:
    """One global batch.

    Attributes:
        epoch, step: counted from 0; `step` over the whole training.
        indices: clips of the training split, in order.
        earlier: for each of them, how often it was in the epoch before.
        samples_after: samples consumed globally after this batch.
        ends_epoch: whether it is the last of its epoch.
    """

    epoch: int
    step: int
    indices: tuple[int, ...]
    earlier: tuple[int, ...]
    samples_after: int
    ends_epoch: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Alike:
    """Clips of like length in one batch, so that less of it is padding: of so many batches of the permutation at a time
    the clips are sorted by length, then cut into batches, whose order is drawn.

    Attributes:
        steps: (N,) how many are learned from, of each clip.
        batches: sorted together; more save more padding and shuffle less.
    """

    steps: NDArray[np.int64]
    batches: int

    def sorted(self, order: NDArray[np.int64], batch_clips: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The clips of an epoch in order; its last batch stays the one that may be smaller."""
        parts, together = [], self.batches * batch_clips
        for first in range(0, order.size, together):
            clips = order[first : first + together]
            clips = clips[np.argsort(self.steps[clips], kind="stable")]
            starts = np.arange(0, clips.size - clips.size % batch_clips, batch_clips)
            parts += [clips[start : start + batch_clips] for start in rng.permutation(starts).tolist()]
            parts.append(clips[starts.size * batch_clips :])
        return np.concatenate(parts)


def alike_of(clips: Sequence[Case], train: Train) -> Alike | None:
    """As the settings have it; None where lengths do not matter."""
    if train.like_length_batches == 1:
        return None
    steps = np.minimum(labels_of(clips).steps, train.max_steps_per_clip).astype(np.int64)
    return Alike(steps=steps, batches=train.like_length_batches)


@dataclass(frozen=True, kw_only=True)
class Order:
    """All global batches of a training. The last batch of an epoch may be smaller. Every clip comes once per epoch, or
    as often as `draws` has it; an epoch has as many samples as there are clips. With `alike` those of a batch are of
    like length."""

    clips: int
    batch_clips: int
    epochs: int
    seed: int
    draws: Draws | None = None
    alike: Alike | None = None

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise ModelError("there is no clip to train on", where="training split", seen=self.clips)

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch."""
        return -(-self.clips // self.batch_clips)

    @property
    def steps(self) -> int:
        """Batches over all epochs."""
        return self.steps_per_epoch * self.epochs

    def permutation(self, epoch: int) -> NDArray[np.int64]:
        """The clips of an epoch in order."""
        rng = generator(self.seed, "order", epoch)
        order = rng.permutation(self.clips) if self.draws is None else self.draws.epoch(rng)
        return order if self.alike is None else self.alike.sorted(order, self.batch_clips, rng)

    def batches(self, samples: int = 0) -> Iterator[GlobalBatch]:
        """The remaining batches after `samples` samples.

        Raises:
            ModelError: `samples` is not a batch boundary of this order.
        """
        epoch, within = divmod(samples, self.clips)
        position, rest = divmod(within, self.batch_clips)
        if rest or samples < 0 or epoch > self.epochs or (epoch == self.epochs and within):
            raise ModelError(
                "samples consumed are not at a batch boundary",
                where="checkpoint",
                seen=samples,
                allowed=f"multiples of {self.batch_clips} within epochs of {self.clips}",
                remedy="The checkpoint is of a different data set or batch size; train from the start.",
            )
        for number in range(epoch, self.epochs):
            order = self.permutation(number)
            earlier = _earlier(order)
            for first in range(position * self.batch_clips, self.clips, self.batch_clips):
                last = min(first + self.batch_clips, self.clips)
                yield GlobalBatch(
                    epoch=number,
                    step=number * self.steps_per_epoch + first // self.batch_clips,
                    indices=tuple(order[first:last].tolist()),
                    earlier=tuple(earlier[first:last].tolist()),
                    samples_after=number * self.clips + last,
                    ends_epoch=last == self.clips,
                )
            position = 0


def _earlier(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each element of a sequence, how often it comes before."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    earlier = np.empty_like(order)
    earlier[by_value] = np.arange(order.size) - np.searchsorted(ordered, ordered)
    return earlier


def shard(indices: tuple[int, ...], *, rank: int, world: int) -> tuple[int, ...]:
    """One worker's part of the clips of a global batch, or of what goes with them; may be empty for a small batch."""
    return indices[rank::world]


def derived_seed(seed: int, *keys: object) -> int:
    """A 63-bit seed of its own for each purpose and position."""
    text = ":".join(str(key) for key in (seed, *keys))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *keys: object) -> np.random.Generator:
    """A numpy generator of its own for each purpose and position."""
    return np.random.default_rng(derived_seed(seed, *keys))
