"""Scores under every pattern of present modalities, as when a camera or a microphone is off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.evaluation.measure import Sample
from components.inference.scoring import Scored, Scorer, keep

# With more modalities than this only singles, leave-one-out and all are scored: 2^M − 1 patterns would take too long.
MAX_EXHAUSTIVE = 5


@dataclass(frozen=True, kw_only=True)
class SubsetScores:
    """The scored clips of one pattern: `cases[i]`, here without features, was scored as if only `modalities` had been
    recorded."""

    modalities: tuple[str, ...]
    cases: tuple[Case, ...]
    scored: tuple[Scored, ...]

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
    twice for "face" and for "face + voice". Each clip is read once, and its features are not kept.

    Args:
        level: "clip" or "step", the finest that anything but the first pattern, all modalities, is measured at: of the
            others only that is kept.
        advance: called after each clip.
    """
    kept: dict[tuple[str, ...], list[tuple[Case, Scored]]] = {pattern: [] for pattern in patterns(modalities)}
    first = tuple(modalities)
    for case in cases:
        bare, scored_as = case.bare, dict[tuple[str, ...], Scored]()
        for pattern, results in kept.items():
            remaining = tuple(name for name in case.present if name in pattern)
            if not remaining:
                continue
            if remaining not in scored_as:
                scored_as[remaining] = scorer.score(*keep(case.features, case.masks, remaining))
            scored = scored_as[remaining]
            results.append((bare, scored if pattern == first else only_posteriors(scored, level)))
        advance(1)
    return [
        SubsetScores(
            modalities=pattern,
            cases=tuple(case for case, _ in results),
            scored=tuple(scored for _, scored in results),
        )
        for pattern, results in kept.items()
        if results
    ]


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


def clip_sample(cases: Sequence[Case], posteriors: Sequence[NDArray[np.floating]]) -> Sample | None:
    """The labelled clips as a sample; None when there is none."""
    labelled = [i for i, case in enumerate(cases) if case.clip_label >= 0]
    if not labelled:
        return None
    return Sample(
        subjects=[cases[i].subject_id for i in labelled],
        truth=np.array([cases[i].clip_label for i in labelled], dtype=np.int64),
        posterior=np.stack([posteriors[i] for i in labelled]),
    )


def step_sample(
    cases: Sequence[Case], posteriors: Sequence[NDArray[np.floating]], modalities: Sequence[str]
) -> Sample | None:
    """The labelled steps at which one of `modalities` is valid, as a sample; None when there is none."""
    subjects: list[str] = []
    truth, rows = [], []
    for case, posterior in zip(cases, posteriors, strict=True):
        valid = np.logical_or.reduce([case.masks[name] for name in modalities])
        chosen = (case.step_labels >= 0) & valid
        subjects.extend([case.subject_id] * int(chosen.sum()))
        truth.append(case.step_labels[chosen])
        rows.append(posterior[chosen])
    if not subjects:
        return None
    return Sample(subjects=subjects, truth=np.concatenate(truth), posterior=np.concatenate(rows))


def sample_of(subset: SubsetScores, level: str) -> Sample | None:
    """The sample of a pattern at a level, "clip" or "step"."""
    if level == "clip":
        return clip_sample(subset.cases, [scored.clip_posterior for scored in subset.scored])
    return step_sample(subset.cases, [scored.step_posterior for scored in subset.scored], subset.modalities)
