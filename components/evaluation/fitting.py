"""Everything that is fitted after training, on the training and calibration splits: never on the test split.

Temperatures, the rarity of a contradiction, the smoother's weights and the baseline's thresholds come from the
calibration split; the durations of emotions and the outlier Gaussians from the training split, the outlier thresholds
from both.

Splits may be on disk (`catalog/packed.py`): the features of one clip are in memory at a time. What stays is a few
kilobytes per clip: labels, masks, means over time, and the scores of the labelled steps that a number is fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.contracts.config import Evaluate
from components.evaluation.episodes.decoders import fit_smoother, fit_thresholds, labelled
from components.evaluation.episodes.thresholds import Thresholds
from components.evaluation.subsets import patterns
from components.inference.calibration import Calibration, Shift, fit_temperature, fit_ways
from components.inference.contradiction import Rarity
from components.inference.durations import Durations, label_runs
from components.inference.outliers import Pooled, Reference, pool
from components.inference.scoring import Logits, Scorer, keep
from components.inference.semi_markov import Smoother
from components.inference.together import trained_together
from components.model.base import EmotionModel
from components.runtime.on_demand import OnDemand
from components.runtime.spilled import Spilled

Rows = NDArray[np.float32]
NO_SHIFT = Shift()
# The most steps that the ways of reading one are weighed on; the weights are tenths.
MOST_STEPS = 20_000
# Clips → their scores.
Read = Callable[[Sequence[Case]], Sequence[Logits]]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The results of fitting."""

    calibration: Calibration
    smoother: Smoother
    thresholds: Thresholds
    reference: Reference


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is kept of the training clips, which are read once: themselves without features, and `pool` of each."""

    cases: Sequence[Case]
    pooled: Sequence[Pooled]

    @classmethod
    def of(cls, cases: Sequence[Case]) -> Summary:
        """Of clips in memory or on disk."""
        kept = [(case.bare, pool(case.features, case.masks)) for case in cases]
        return cls(cases=[case for case, _ in kept], pooled=[means for _, means in kept])


def fit(
    model: EmotionModel,
    train: Summary,
    calibration: Sequence[Case],
    config: Evaluate,
    *,
    shift: Shift = NO_SHIFT,
    read: Read | None = None,
) -> Fitted:
    """Fits everything; the two splits must not share a person. `shift` and `read` as in `fit_calibration`."""
    fitted = fit_calibration(model, calibration, quantile=config.contradiction_quantile, shift=shift, read=read)
    temperatures = replace(fitted, together=trained_together(case.present for case in train.cases))
    classes, scorer = model.spec.classes, Scorer(model, temperatures)
    scored = [(x.bare, scorer.score(x.features, x.masks).step_posterior) for x in calibration]
    judged = labelled([case for case, _ in scored], [posterior for _, posterior in scored], classes)
    durations = Durations.fit(run for case in train.cases for run in label_runs(case.step_labels, case.rate_hz))
    return Fitted(
        calibration=temperatures,
        smoother=fit_smoother(judged, durations, classes),
        thresholds=fit_thresholds(judged, classes),
        reference=Reference.fit(
            train.pooled,
            [pool(case.features, case.masks) for case in calibration],
            people=[case.subject_id for case in train.cases],
            quantile=config.outlier_quantile,
        ),
    )


def fit_calibration(
    model: EmotionModel,
    cases: Sequence[Case],
    *,
    quantile: float,
    shift: Shift = NO_SHIFT,
    read: Read | None = None,
) -> Calibration:
    """The temperatures on the calibration split (heads without a labelled item keep 1), and how rare a conflict of
    modalities is among its ordinary clips: those in which no contradiction was planted.

    Args:
        shift: what the objective adds to the scores after their temperature.
        read: returns the scores of clips; by default one clip at a time.
    """
    temperatures, logits = fit_posteriors(model, cases, read or one_by_one(model), shift)
    calibrated = Scorer(model, replace(temperatures, contradiction_threshold=quantile))
    ordinary = (
        calibrated.calibrated(item, case.masks).moments
        for case, item in zip(cases, logits, strict=True)
        if not case.has_planted("contradiction")
    )
    rarity = Rarity.fit([moments.peak for moments in ordinary if moments is not None])
    return replace(calibrated.calibration, rarity=rarity)


def one_by_one(model: EmotionModel) -> Read:
    """The scores of clips, one at a time; a clip is scored once for each set of present modalities."""
    plain = Scorer(model, Calibration())
    scores: Spilled[Logits] = Spilled()
    places: dict[tuple[str, tuple[str, ...]], int] = {}

    def read(clips: Sequence[Case]) -> Sequence[Logits]:
        chosen = np.zeros(len(clips), dtype=np.int64)
        for number, case in enumerate(clips):
            key = case.clip_id, case.present
            if key not in places:
                places[key] = len(scores)
                scores.append(plain.logits(case.features, case.masks))
            chosen[number] = places[key]
        return OnDemand(scores.__getitem__, chosen)

    return read


def fit_posteriors(
    model: EmotionModel, cases: Sequence[Case], read: Read, shift: Shift = NO_SHIFT
) -> tuple[Calibration, Sequence[Logits]]:
    """The temperatures and the weights of the ways of reading a clip or a step, and the scores of the clips as
    recorded."""
    logits, clips = read(cases), cases
    cases = [case.bare for case in clips]
    heads = sorted({name for item in logits for name in item.unimodal})
    step_heads = sorted({name for item in logits for name in item.unimodal_step})
    alone = Calibration(
        unimodal={
            name: _clip_temperature(*_having(name, cases, [item.unimodal[name] for item in logits]), shift)
            for name in heads
        },
        unimodal_step={
            name: _step_temperature(
                cases, [item.unimodal_step[name] for item in logits], [case.masks[name] for case in cases], shift
            )
            for name in step_heads
        },
        shift=shift,
    )
    plain = Scorer(model, alone)
    weights = replace(alone, clip_ways=_clip_ways(plain, cases, logits), step_ways=_step_ways(plain, cases, logits))
    scorer = Scorer(model, weights)
    step_by_count, clip_by_count = _by_count(scorer, clips, cases, read)
    calibration = replace(
        scorer.calibration,
        step=_step_temperature(
            cases,
            [scorer.step_scores(item, case.masks) for case, item in zip(cases, logits, strict=True)],
            [case.valid for case in cases],
            shift,
        ),
        clip=_clip_temperature(
            cases, [scorer.clip_scores(item, case.masks) for case, item in zip(cases, logits, strict=True)], shift
        ),
        step_by_count=step_by_count,
        clip_by_count=clip_by_count,
    )
    return calibration, logits


def _by_count(
    scorer: Scorer, clips: Sequence[Case], bare: Sequence[Case], read: Read
) -> tuple[dict[int, float], dict[int, float]]:
    """Step and clip temperatures by number of present modalities, over every pattern that the clips can show.

    Args:
        bare: the clips without features.
    """
    groups: dict[int, dict[tuple[int, tuple[str, ...]], None]] = {}
    for pattern in patterns(scorer.model.spec.names):
        for number, case in enumerate(bare):
            remaining = tuple(name for name in case.present if name in pattern)
            if remaining:
                groups.setdefault(len(remaining), {})[number, remaining] = None
    step, clip = {}, {}
    for count, group in sorted(groups.items()):
        shown, shift = list(group), scorer.calibration.shift
        logits = read(_showing_all(clips, shown))
        cases = [_showing(bare, *entry) for entry in shown]
        clip[count] = _clip_temperature(
            cases, [scorer.clip_scores(item, case.masks) for case, item in zip(cases, logits, strict=True)], shift
        )
        rows = [scorer.step_scores(item, case.masks) for case, item in zip(cases, logits, strict=True)]
        step[count] = _step_temperature(cases, rows, [case.valid for case in cases], shift)
    return step, clip


def _showing_all(clips: Sequence[Case], shown: Sequence[tuple[int, tuple[str, ...]]]) -> Sequence[Case]:
    """`_showing` of each, made when it is asked for."""
    return OnDemand(lambda place: _showing(clips, *shown[place]), np.arange(len(shown)))


def _showing(cases: Sequence[Case], number: int, modalities: Sequence[str]) -> Case:
    """A clip as if only some modalities had been recorded."""
    case = cases[number]
    features, masks = keep(case.features, case.masks, modalities)
    return replace(case, features=features, masks=masks)


def _clip_ways(scorer: Scorer, cases: Sequence[Case], logits: Sequence[Logits]) -> dict[str, float]:
    """The weight of each way of reading a clip, from clips as they were recorded."""
    rows = [scorer.ways(item, case.masks) for case, item in zip(cases, logits, strict=True)]
    ways = {name: np.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    labels = np.array([case.clip_label for case in cases], dtype=np.int64)
    return fit_ways(ways, labels, scorer.calibration.shift.clip)


def _step_ways(scorer: Scorer, cases: Sequence[Case], logits: Sequence[Logits]) -> dict[str, float]:
    """The weight of each way of reading a step, from the labelled steps of clips as they were recorded."""
    chosen = [(case.step_labels >= 0) & case.valid for case in cases]
    rows = [scorer.step_ways(item, case.masks) for case, item in zip(cases, logits, strict=True)]
    if not rows or not rows[0]:
        return {}
    labels = np.concatenate([case.step_labels[mask] for case, mask in zip(cases, chosen, strict=True)])
    every = slice(None, None, -(-max(1, labels.size) // MOST_STEPS))
    ways = {
        name: np.concatenate([row[name][mask] for row, mask in zip(rows, chosen, strict=True)])[every]
        for name in rows[0]
    }
    return fit_ways(ways, labels[every], scorer.calibration.shift.step)


def _having(name: str, cases: Sequence[Case], rows: Sequence[Rows]) -> tuple[list[Case], list[Rows]]:
    """The clips that have a modality, and their rows."""
    kept = [(case, row) for case, row in zip(cases, rows, strict=True) if name in case.present]
    return [case for case, _ in kept], [row for _, row in kept]


def _step_temperature(
    cases: Sequence[Case], logits: Sequence[Rows], valid: Sequence[NDArray[np.bool_]], shift: Shift
) -> float:
    rows, truth = [], []
    for case, row, mask in zip(cases, logits, valid, strict=True):
        chosen = (case.step_labels >= 0) & mask
        rows.append(row[chosen])
        truth.append(case.step_labels[chosen])
    return fit_temperature(np.concatenate(rows), np.concatenate(truth), shift.step) if rows else 1.0


def _clip_temperature(cases: Sequence[Case], rows: Sequence[Rows], shift: Shift) -> float:
    if not rows:
        return 1.0
    return fit_temperature(np.stack(rows), np.array([case.clip_label for case in cases], dtype=np.int64), shift.clip)
