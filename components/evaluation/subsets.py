"""Scores under every pattern of present modalities, as when a camera or a microphone is off."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.evaluation.measure import Sample, SampleRows
from components.inference.scoring import Scored, Scorer, keep
from components.runtime.on_demand import OnDemand
from components.runtime.spilled import kept_like

# With more modalities than this only singles, leave-one-out and all are scored: 2^M − 1 patterns would take too long.
MAX_EXHAUSTIVE = 5


@dataclass(frozen=True, kw_only=True)
class SubsetScores:
    """The scored clips of one pattern: `cases[i]`, here without features, was scored as if only `modalities` had been
    recorded. It is clip `places[i]` of those that all patterns were scored on."""

    modalities: tuple[str, ...]
    cases: Sequence[Case]
    scored: Sequence[Scored]
    places: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Such as `face+voice`."""
        return "+".join(self.modalities)


def patterns(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """The patterns of present modalities, all of them first, then fewer and fewer."""
    count = len(modalities)
    sizes = range(count, 0, -1) if count <= MAX_EXHAUSTIVE else sorted({count, count - 1, 1}, reverse=True)
    return [pattern for size in sizes for pattern in combinations(modalities, size)]


def score_subsets(
    scorer: Scorer,
    cases: Sequence[Case],
    modalities: Sequence[str],
    *,
    level: str = "step",
    advance: Callable[[int], None] = lambda _: None,
) -> list[SubsetScores]:
    """Scores every pattern on the clips that have at least one of its modalities.

    Costs one forward pass for each *different* set of present modalities of a clip: a clip without sound is not scored
    twice for "face" and for "face + voice". Each clip is read once, and its features are not kept. Where clips are on
    disk, what is kept of them is too.

    Args:
        level: "clip" or "step", the finest that anything but the first pattern, all modalities, is measured at: of the
            others only that is kept.
        advance: called after each clip.
    """
    bare, answers = kept_like(cases), kept_like(cases)
    places = {pattern: (array("q"), array("q")) for pattern in patterns(modalities)}  # of clips and of their answers
    first = tuple(modalities)
    for number, case in enumerate(cases):
        bare.append(case.bare)
        scored_as, kept_as = dict[tuple[str, ...], Scored](), dict[tuple[bool, tuple[str, ...]], int]()
        for pattern, (clips, answered) in places.items():
            remaining = tuple(name for name in case.present if name in pattern)
            if not remaining:
                continue
            if remaining not in scored_as:
                scored_as[remaining] = scorer.score(*keep(case.features, case.masks, remaining))
            scored, key = scored_as[remaining], (pattern == first, remaining)
            if key not in kept_as:
                kept_as[key] = len(answers)
                answers.append(scored if pattern == first else only_posteriors(scored, level))
            clips.append(number)
            answered.append(kept_as[key])
        advance(1)
    return [
        SubsetScores(
            modalities=pattern,
            cases=OnDemand(bare.__getitem__, _array(clips)),
            scored=OnDemand(answers.__getitem__, _array(answered)),
            places=_array(clips),
        )
        for pattern, (clips, answered) in places.items()
        if clips
    ]


def _array(places: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(places, dtype=np.int64)


def only_posteriors(scored: Scored, level: str) -> Scored:
    """The posteriors of the clip and, at the level "step", of its steps; nothing else over time."""
    nothing = np.empty(0)
    return replace(
        scored,
        step_posterior=scored.step_posterior if level == "step" else scored.step_posterior[:0].copy(),
        unimodal_steps={},
        moments=None,
        step_contradiction=nothing,
        step_valence_arousal=None,
    )


def clip_sample(cases: Iterable[Case], posteriors: Iterable[NDArray[np.floating]]) -> Sample | None:
    """The labelled clips as a sample; None when there is none."""
    rows = SampleRows()
    for case, posterior in zip(cases, posteriors, strict=True):
        add_clip(rows, case, posterior)
    return rows.sample()


def step_sample(
    cases: Iterable[Case], posteriors: Iterable[NDArray[np.floating]], modalities: Sequence[str]
) -> Sample | None:
    """The labelled steps at which one of `modalities` is valid, as a sample; None when there is none."""
    rows = SampleRows()
    for case, posterior in zip(cases, posteriors, strict=True):
        add_steps(rows, case, posterior, modalities)
    return rows.sample()


def sample_of(subset: SubsetScores, level: str) -> Sample | None:
    """The sample of a pattern at a level, "clip" or "step"."""
    return samples_of(zip(subset.cases, subset.scored, strict=True), subset.modalities, [level]).get(level)


def samples_of(
    scored: Iterable[tuple[Case, Scored]], modalities: Sequence[str], levels: Collection[str]
) -> dict[str, Sample]:
    """Level → the sample of some scored clips, of the levels that have any labelled item."""
    rows = {level: SampleRows() for level in levels}
    for case, item in scored:
        if "clip" in rows:
            add_clip(rows["clip"], case, item.clip_posterior)
        if "step" in rows:
            add_steps(rows["step"], case, item.step_posterior, modalities)
    return {level: sample for level, own in rows.items() if (sample := own.sample()) is not None}


def add_clip(rows: SampleRows, case: Case, posterior: NDArray[np.floating]) -> None:
    """Adds a clip with its posterior (K,), where it has a label."""
    if case.clip_label >= 0:
        rows.append(case.subject_id, np.array([case.clip_label], dtype=np.int64), posterior[None])


def add_steps(rows: SampleRows, case: Case, posterior: NDArray[np.floating], modalities: Sequence[str]) -> None:
    """Adds the labelled steps of a clip at which one of `modalities` is valid, with their posteriors (T, K)."""
    valid = np.logical_or.reduce([case.masks[name] for name in modalities])
    chosen = (case.step_labels >= 0) & valid
    rows.append(case.subject_id, case.step_labels[chosen], posterior[chosen])
