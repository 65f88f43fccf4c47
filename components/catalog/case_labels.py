"""What a training needs to know of all its clips before the first step: their labels, datasets and lengths, without
features. It is gathered in the pass in which clips without a label are left out, and travels to workers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts.labels import UNLABELLED


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseLabels:
    """Of some clips, about 30 bytes for each.

    Legend: N clips, P pairs of a clip and a class that labels some of its steps.

    Attributes:
        places: (N,) where they are among all examples.
        datasets, dataset: names, and the number of each clip's, (N,).
        clip: (N,) class, or UNLABELLED.
        steps: (N,) T.
        pair_clip, pair_class, pair_steps: (P,) the clip, ascending, the class, and how many steps have it.
        rated: whether any clip has a valence, and any an arousal.
    """

    places: NDArray[np.int64]
    datasets: tuple[str, ...]
    dataset: NDArray[np.int16]
    clip: NDArray[np.int16]
    steps: NDArray[np.int32]
    pair_clip: NDArray[np.int32]
    pair_class: NDArray[np.int16]
    pair_steps: NDArray[np.int32]
    rated: tuple[bool, bool]

    @property
    def classes(self) -> set[int]:
        """Those that label a clip or a step."""
        return {*np.unique(self.pair_class).tolist(), *np.unique(self.clip).tolist()} - {UNLABELLED}

    @property
    def by_stretch(self) -> bool:
        """Whether stretches of some clip have labels, such as the utterances of a video, where the clip has none."""
        return bool((self.clip[self.pair_clip] == UNLABELLED).any())


class LabelsGathered:
    """Gathers `CaseLabels` clip by clip."""

    def __init__(self) -> None:
        self._datasets: dict[str, int] = {}
        self._clips, self._pairs = array("q"), array("q")
        self._rated = [False, False]

    def add(
        self,
        place: int,
        *,
        dataset: str,
        clip_label: int,
        step_labels: NDArray[np.int64],
        valence_arousal: Iterable[float],
    ) -> None:
        """The next clip, at a place among the examples."""
        number = len(self._clips) // 4
        own = self._datasets.setdefault(dataset, len(self._datasets))
        self._clips.extend((place, own, clip_label, step_labels.size))
        classes, steps = np.unique(step_labels[step_labels != UNLABELLED], return_counts=True)
        for pair in zip(classes.tolist(), steps.tolist(), strict=True):
            self._pairs.extend((number, *pair))
        self._rated = [known or math.isfinite(value) for known, value in zip(self._rated, valence_arousal, strict=True)]

    def labels(self) -> CaseLabels:
        """Of the clips so far."""
        clips_N4 = np.array(self._clips, dtype=np.int64).reshape(-1, 4)
        pairs_P3 = np.array(self._pairs, dtype=np.int64).reshape(-1, 3)
        return CaseLabels(
            places=clips_N4[:, 0].copy(),
            datasets=tuple(self._datasets),
            dataset=clips_N4[:, 1].astype(np.int16),
            clip=clips_N4[:, 2].astype(np.int16),
            steps=clips_N4[:, 3].astype(np.int32),
            pair_clip=pairs_P3[:, 0].astype(np.int32),
            pair_class=pairs_P3[:, 1].astype(np.int16),
            pair_steps=pairs_P3[:, 2].astype(np.int32),
            rated=(self._rated[0], self._rated[1]),
        )
