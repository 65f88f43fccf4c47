"""What an episode and a transition rest on: which modality turned first, and how the answer changes without each.

How much: the clip is scored again with a modality masked (leave-one-out; occlusion as in Zeiler and Fergus 2014, arXiv
1311.2901, section 4.2). Attention weights do not tell it: different weights can give the same answer (Jain and Wallace
2019, arXiv 1902.10186). When: the change point of a modality's own posterior, which depends on that modality alone.

Legend: T steps, K classes. Masks are True = valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from components.inference.episodes import Episode
from components.inference.experts import Opinion, joined_steps
from components.inference.scoring import Features, Masks, Scored, Scorer

# How far around a transition its causes are looked for, and over how long its rise is measured, at most.
AROUND_S = 2.0
RISE_S = 1.0
# A modality has turned where the log-odds of the new emotion against the old one rise by this much, in nats.
TURN_NATS = 1.0
# Two that turned less than this apart turned together.
TOGETHER_S = 0.25
# Less than this is not a change.
LEAST_CHANGE = 0.05
FLOOR = 1e-6


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """Of one modality to an episode or a transition.

    `change` is by how much the probability of the emotion (of a transition: its rise) is larger with the modality than
    without it. `instead` is the emotion of an episode without it; None where nothing is left to judge, and of a
    transition. `turned_at_s` is when its own posterior turned to the new emotion, None where it did not.
    """

    change: float
    instead: str | None = None
    turned_at_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reasons:
    """What an episode or a transition rests on.

    Attributes:
        probability: of the emotion over the episode; of a transition, by how much that of the new emotion rises.
        by_modality: of the modalities that are present there.
    """

    probability: float
    by_modality: Mapping[str, Contribution] = field(default_factory=dict)

    @property
    def first(self) -> str | None:
        """The modality that turned first; None where none did, or several together."""
        times = {name: own.turned_at_s for name, own in self.by_modality.items() if own.turned_at_s is not None}
        order = sorted(times, key=lambda name: times[name])
        together = len(order) > 1 and times[order[1]] - times[order[0]] < TOGETHER_S
        return order[0] if order and not together else None

    @property
    def most(self) -> str | None:
        """The modality without which the answer changes most; None where it does not change without any."""
        name = max(self.by_modality, key=lambda name: self.by_modality[name].change, default=None)
        return None if name is None or self.by_modality[name].change < LEAST_CHANGE else name


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A scored clip, and the same without each of its modalities in turn.

    Attributes:
        posterior: (T, K) with all of them.
        without: modality → (T, K) without it; even where nothing is left to judge.
        left: modality → (T,) where something is left.
        alone: modality → (T, K), its own posterior, which counts where `masks` has it.
        masks: modality → (T,), of those that are present.
        classes: K names.
        rate_hz: steps per second.
    """

    posterior: NDArray[np.floating]
    without: Mapping[str, NDArray[np.floating]]
    left: Masks
    alone: Mapping[str, NDArray[np.floating]]
    masks: Masks
    classes: Sequence[str]
    rate_hz: float

    def of_episodes(self, episodes: Sequence[Episode]) -> list[Reasons]:
        """What each episode rests on; where one follows another, also when each modality turned to it."""
        turned = [{}, *(self._turned(before, after) for before, after in pairwise(episodes))]
        return [self._of_episode(episode, turns) for episode, turns in zip(episodes, turned, strict=False)]

    def of_transitions(self, episodes: Sequence[Episode]) -> list[Reasons]:
        """What each of `episodes.transitions` rests on."""
        return [
            self._of_transition(before, after)
            for before, after in pairwise(episodes)
            if before.emotion != after.emotion
        ]

    def _of_episode(self, episode: Episode, turned: Mapping[str, float]) -> Reasons:
        steps, index = self._steps(episode.onset_s, episode.offset_s), self.classes.index(episode.emotion)
        steps = steps[self._valid(steps)]
        probability = float(self.posterior[steps, index].mean())
        return Reasons(
            probability=probability,
            by_modality={
                name: Contribution(
                    change=probability - float(rows[steps, index].mean()),
                    instead=self._instead(name, steps),
                    turned_at_s=turned.get(name),
                )
                for name, rows in self.without.items()
                if self.masks[name][steps].any()
            },
        )

    def _of_transition(self, before: Episode, after: Episode) -> Reasons:
        sides = self._sides(before, after, RISE_S)
        index, turned = self.classes.index(after.emotion), self._turned(before, after)
        rise = self._rise(self.posterior, index, sides)
        return Reasons(
            probability=rise,
            by_modality={
                name: Contribution(change=rise - self._rise(rows, index, sides), turned_at_s=turned.get(name))
                for name, rows in self.without.items()
                if any(self.masks[name][side].any() for side in sides)
            },
        )

    def _rise(self, rows: NDArray[np.floating], index: int, sides: Sequence[NDArray[np.int64]]) -> float:
        earlier, later = (rows[side[self._valid(side)], index] for side in sides)
        return float(later.mean() - earlier.mean()) if earlier.size and later.size else 0.0

    def _turned(self, before: Episode, after: Episode) -> dict[str, float]:
        """When each modality turned from one emotion to the other, in seconds; those that did not are left out."""
        old, new = self.classes.index(before.emotion), self.classes.index(after.emotion)
        around = np.concatenate(self._sides(before, after, AROUND_S))
        turned = {}
        for name, rows in self.alone.items():
            steps = around[self.masks[name][around]]
            log_p = np.log(np.maximum(rows[steps], FLOOR))
            if (turn := change_point(log_p[:, new] - log_p[:, old], least=TURN_NATS)) is not None:
                turned[name] = float(steps[turn] / self.rate_hz)
        return turned

    def _instead(self, name: str, steps: NDArray[np.int64]) -> str | None:
        rows = self.without[name][steps[self.left[name][steps]]]
        return self.classes[int(rows.mean(0).argmax())] if len(rows) else None

    def _sides(self, before: Episode, after: Episode, reach_s: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The steps just before and just after a transition, within the two episodes."""
        at_s = after.onset_s
        return (
            self._steps(max(before.onset_s, at_s - reach_s), at_s),
            self._steps(at_s, min(after.offset_s, at_s + reach_s)),
        )

    def _steps(self, start_s: float, end_s: float) -> NDArray[np.int64]:
        return np.arange(round(start_s * self.rate_hz), min(round(end_s * self.rate_hz), len(self.posterior)))

    def _valid(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.any([mask[steps] for mask in self.masks.values()], axis=0)


def leave_one_out(
    scorer: Scorer, own: Scored, features: Features, masks: Masks, opinions: Mapping[str, Opinion]
) -> LeftOut:
    """Scores a clip without each of its modalities in turn: one more pass of the model, over as many variants.

    Args:
        scorer: of the version.
        own: its `score` of the clip.
        features, masks: {m: (T, D)}, {m: (T,)} as `Transform.apply` returns them.
        opinions: of classifiers on modalities that the version was trained without.
    """
    spec = scorer.model.spec
    scored = own.joined(opinions, masks)
    variants = {name: part.step_posterior for name, part in scorer.score_without(features, masks).items()}
    every = {**masks, **{name: opinion.valid for name, opinion in opinions.items()}}
    every = {name: mask for name, mask in every.items() if bool(mask.any())}
    nowhere = np.zeros(len(own.step_posterior), dtype=bool)
    without, left = {}, {}
    for name in every:
        trained = np.any([nowhere, *(mask for other, mask in masks.items() if other != name)], axis=0)
        heard = {other: opinion for other, opinion in opinions.items() if other != name}
        # The version's own posterior does not change without the opinion of a classifier.
        rows = variants.get(name, own.step_posterior)
        rows = joined_steps(rows, trained, heard) if heard else rows
        left[name] = np.any([trained, *(opinion.valid for opinion in heard.values())], axis=0)
        without[name] = np.where(left[name][:, None], rows, 1 / len(spec.classes))
    return LeftOut(
        posterior=scored.step_posterior,
        without=without,
        left=left,
        alone={name: rows for name, rows in scored.unimodal_steps.items() if name in every},
        masks=every,
        classes=spec.classes,
        rate_hz=spec.rate_hz,
    )


def change_point(values: NDArray[np.floating], *, least: float) -> int | None:
    """The index at which values (n,) rise to a new level: the split with the smallest squared error around two means
    (Hinkley, Biometrika 57, 1970), None where the second is not larger by `least`."""
    if values.size < 2:
        return None
    sums, counts = np.cumsum(values), np.arange(1, values.size)
    below = sums[:-1] / counts
    above = (sums[-1] - sums[:-1]) / (values.size - counts)
    rise = above - below
    explained = np.where(rise > 0, counts * (values.size - counts) * np.square(rise), -1.0)
    split = int(explained.argmax())
    return split + 1 if rise[split] >= least else None
