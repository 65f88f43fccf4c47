"""What a model is compared with: baselines, and itself with fewer modalities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.evaluation.intervals import Interval
from components.evaluation.measure import Ruler, Sample, paired
from components.evaluation.subsets import SubsetScores, clip_sample, sample_of, step_sample
from components.inference.probabilities import product_of_experts
from components.runtime.on_demand import OnDemand
from components.training.samples.balance import LabelCounts

MAJORITY, EXPERTS = "majority", "product_of_experts"


def baseline_samples(train: LabelCounts, whole: SubsetScores, *, level: str) -> dict[str, Sample]:
    """The predictions of each baseline for the labelled test clips: always the most frequent class of the training
    split, and the product of the unimodal heads (clips only, and models that have such heads).

    Args:
        train: how often each class labels a clip and a step of the training split.
        whole: the test clips with every modality they have.
        level: "clip" or "step".

    Raises:
        DataError: no test clip has a label.
    """
    samples = {MAJORITY: _sample(whole, level, _constant(whole, level, _prior(train, level)))}
    if level == "clip" and len(whole.modalities) > 1 and all(scored.unimodal_posterior for scored in whole.scored):
        products = (product_of_experts(scored.unimodal_posterior) for scored in whole.scored)
        samples[EXPERTS] = _sample(whole, level, products)
    return samples


def differences(subsets: Sequence[SubsetScores], baselines: Mapping[str, Sample], ruler: Ruler) -> dict[str, Interval]:
    """Pattern or baseline → macro-F1 of everything minus its own, paired, on the clips that both scored.

    Args:
        subsets: the patterns of present modalities, all of them first.
    """
    whole = subsets[0]
    intervals: dict[str, Interval] = {}
    for subset in subsets[1:]:
        everything, fewer = sample_of(_on_clips_of(subset, whole), ruler.level), sample_of(subset, ruler.level)
        if everything is not None and fewer is not None:
            intervals[subset.name] = paired(everything, fewer, bootstrap=ruler.bootstrap)
    everything = sample_of(whole, ruler.level)
    if everything is not None:
        for name, sample in baselines.items():
            intervals[name] = paired(everything, sample, bootstrap=ruler.bootstrap)
    return intervals


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """How far the answer without a modality falls short of what one remaining modality gives alone, on the clips that
    have that one: `interval` of the difference of macro-F1, and which modality, `alone`."""

    interval: Interval
    alone: str


def shortfalls(subsets: Sequence[SubsetScores], modalities: Sequence[str], ruler: Ruler) -> dict[str, Shortfall]:
    """Modality that is missing → the shortfall against the best remaining one.

    A modality alone is measured by its own head where clips are scored and the model has such heads, otherwise by the
    model's answer to nothing else.
    """
    by_pattern = {subset.modalities: subset for subset in subsets}
    found = {}
    for missing in modalities:
        remaining = by_pattern.get(tuple(name for name in modalities if name != missing))
        if remaining is None:
            continue
        falls = [
            fall
            for name in remaining.modalities
            if name in modalities and (fall := _shortfall(remaining, by_pattern.get((name,)), name, ruler)) is not None
        ]
        if falls:
            found[missing] = max(falls, key=lambda fall: fall.interval.value or 0.0)
    return found


def _shortfall(remaining: SubsetScores, single: SubsetScores | None, name: str, ruler: Ruler) -> Shortfall | None:
    """Against `name` alone; None where it cannot be measured."""
    if single is None:
        return None
    alone = sample_of(single, ruler.level)
    if ruler.level == "clip" and all(name in item.unimodal_posterior for item in single.scored):
        alone = clip_sample(single.cases, (item.unimodal_posterior[name] for item in single.scored))
    answer = sample_of(_on_clips_of(single, remaining), ruler.level)
    if alone is None or answer is None:
        return None
    return Shortfall(interval=paired(alone, answer, bootstrap=ruler.bootstrap), alone=name)


def _on_clips_of(smaller: SubsetScores, larger: SubsetScores) -> SubsetScores:
    """The answers of a larger pattern on the clips of a smaller one, and at its steps: a sample of either must hold the
    same items, those at which a modality of the smaller pattern is valid."""
    answers = np.searchsorted(larger.places, smaller.places)  # ascending, and the larger has all of the smaller
    return replace(smaller, scored=OnDemand(larger.scored.__getitem__, answers))


def _prior(train: LabelCounts, level: str) -> NDArray[np.float64]:
    """(K,) share of each class in the training split; even where nothing is labelled."""
    counts = train.clip if level == "clip" else train.step
    return counts / counts.sum() if counts.sum() else np.full(counts.size, 1 / counts.size)


def _constant(whole: SubsetScores, level: str, prior: NDArray[np.float64]) -> Iterator[NDArray[np.floating]]:
    """The same posterior for every clip, or for every step of every clip."""
    for case in whole.cases:
        yield prior if level == "clip" else np.tile(prior, (case.steps, 1))


def _sample(whole: SubsetScores, level: str, posteriors: Iterable[NDArray[np.floating]]) -> Sample:
    sample = (
        clip_sample(whole.cases, posteriors)
        if level == "clip"
        else step_sample(whole.cases, posteriors, whole.modalities)
    )
    if sample is None:
        raise DataError("no test clip has a label", where="evaluate")
    return sample
