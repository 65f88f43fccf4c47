"""Scores under every pattern of present modalities, as when a camera or a microphone is off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """The scored clips of one pattern: `cases[i]` was scored as if only `modalities` had been recorded."""

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
    scorer: Scorer, cases: Sequence[Case], modalities: Sequence[str], *, advance: Callable[[int], None] = lambda _: None
) -> list[SubsetScores]:
    """Scores every pattern on the clips that have at least one of its modalities.

    Costs one forward pass for each *different* set of present modalities of a clip: a clip without sound is not scored
    twice for "face" and for "face + voice".
    """
    scored_as: dict[tuple[str, tuple[str, ...]], Scored] = {}
    results = []
    for pattern in patterns(modalities):
        cases_of_pattern, scored = [], []
        for case in cases:
            remaining = tuple(name for name in case.present if name in pattern)
            if remaining:
                if (case.clip_id, remaining) not in scored_as:
                    scored_as[case.clip_id, remaining] = scorer.score(*keep(case.features, case.masks, remaining))
                cases_of_pattern.append(case)
                scored.append(scored_as[case.clip_id, remaining])
        advance(1)
        if cases_of_pattern:
            results.append(SubsetScores(modalities=pattern, cases=tuple(cases_of_pattern), scored=tuple(scored)))
    return results


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
