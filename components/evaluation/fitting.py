"""Everything that is fitted after training, on the training and calibration splits: never on the test split.

Temperatures, the rarity of a contradiction, the smoother's weights and the baseline's thresholds come from the
calibration split; the durations of emotions and the outlier Gaussians from the training split, the outlier thresholds
from both.

Splits may be on disk (`catalog/packed.py`): the features of one clip are in memory at a time. What is kept of a clip
(labels, masks, means over time, scores) is on disk then too, so that memory holds some hundred bytes of it: numbers of
places. A number is fitted on at most `MOST_ITEMS` labelled steps.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.contracts.config import Evaluate
from components.evaluation.episodes.decoders import Labelled, fit_smoother, fit_thresholds, labelled
from components.evaluation.episodes.thresholds import Thresholds
from components.evaluation.measure import MOST_ITEMS, thin
from components.evaluation.subsets import patterns
from components.inference.calibration import Calibration, Shift, fit_temperature, fit_ways
from components.inference.contradiction import Rarity
from components.inference.durations import Durations, label_runs
from components.inference.outliers import PooledRows, Reference, pool
from components.inference.scoring import Logits, Scorer, keep
from components.inference.semi_markov import Smoother
from components.inference.together import Combination, trained_together
from components.model.base import EmotionModel
from components.runtime.on_demand import OnDemand
from components.runtime.spilled import Kept, Spilled, SpilledRows, kept_like
from components.training.samples.balance import LabelCounts, label_counts

Rows = NDArray[np.float32]
NO_SHIFT = Shift()
# The most steps that the ways of reading one are weighed on; the weights are tenths.
MOST_STEPS = 20_000
# Clips of one split, in its order or as `Shown` → their scores.
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
    """What is kept of the training clips, which are read once.

    Attributes:
        labels: (K,) how often each class labels a clip and a step.
        learned: the clips that can be learned from, without features and masks.
        combinations: modalities that clips have → how many have them.
        durations: of the labels.
        pooled: their means over time.
    """

    clips: int
    labels: LabelCounts
    learned: Sequence[Case]
    combinations: Counter[Combination]
    durations: Durations
    pooled: PooledRows

    @classmethod
    def of(cls, cases: Sequence[Case], classes: int) -> Summary:
        """Of clips in memory or on disk."""
        labels, usable = kept_like(cases), array("q")
        combinations, pooled = Counter[Combination](), PooledRows()
        for number, case in enumerate(cases):
            labels.append(replace(case, features={}, pooled=None, masks={}, step_labels=case.step_labels.copy()))
            if case.usable:
                usable.append(number)
            combinations[case.present] += 1
            pooled.append(pool(case.features, case.masks), case.subject_id)
        every = OnDemand(labels.__getitem__, np.arange(len(labels)))
        return cls(
            clips=len(labels),
            labels=label_counts(every, classes),
            learned=OnDemand(labels.__getitem__, np.array(usable)),
            combinations=combinations,
            durations=Durations.fit(run for case in every for run in label_runs(case.step_labels, case.rate_hz)),
            pooled=pooled,
        )


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
    temperatures = replace(fitted, together=trained_together(train.combinations.elements()))
    classes, scorer, pooled = model.spec.classes, Scorer(model, temperatures), PooledRows()
    judged: Kept[Labelled] = kept_like(calibration)
    for case in calibration:
        pooled.append(pool(case.features, case.masks), case.subject_id)
        if clip := labelled(case.bare, scorer.score(case.features, case.masks).step_posterior, classes):
            judged.append(clip)
    clips = OnDemand(judged.__getitem__, np.arange(len(judged)))
    return Fitted(
        calibration=temperatures,
        smoother=fit_smoother(clips, train.durations, classes),
        thresholds=fit_thresholds(clips, classes),
        reference=Reference.fit(train.pooled, pooled, quantile=config.outlier_quantile),
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
    peaks = np.fromiter((moments.peak for moments in ordinary if moments is not None), dtype=np.float64)
    rarity = Rarity.fit(peaks)
    return replace(calibrated.calibration, rarity=rarity)


class Shown(OnDemand[Case]):
    """Clips as if only some modalities had been recorded, each made when it is asked for.

    Args:
        clips: of a split.
        numbers: (N,) which of them.
        ways: combinations of modalities.
        way: (N,) of them the one that is shown of each, all of which it has.
    """

    def __init__(
        self, clips: Sequence[Case], numbers: NDArray[np.int64], ways: Sequence[Combination], way: NDArray[np.int16]
    ) -> None:
        super().__init__(lambda place: _showing(clips, *self.what(place)), np.arange(len(numbers)))
        self.clips, self.numbers, self.ways, self.way = clips, numbers, ways, way

    def what(self, place: int) -> tuple[int, Combination]:
        """Number of a clip, and what is shown of it."""
        return int(self.numbers[place]), self.ways[self.way[place]]

    def of(self, clips: Sequence[Case]) -> Shown:
        """The same of other clips, such as those without features."""
        return Shown(clips, self.numbers, self.ways, self.way)


def one_by_one(model: EmotionModel) -> Read:
    """The scores of clips of one split, one at a time; a clip is scored once for each set of present modalities."""
    plain = Scorer(model, Calibration())
    scores: Spilled[Logits] = Spilled()
    places: dict[Combination, NDArray[np.int64]] = {}  # of each clip of the split, -1 for one that was not scored

    def read(clips: Sequence[Case]) -> Sequence[Logits]:
        of = clips.clips if isinstance(clips, Shown) else clips
        chosen = np.zeros(len(clips), dtype=np.int64)
        for row in range(len(clips)):
            if isinstance(clips, Shown):
                case, (number, present) = None, clips.what(row)
            else:
                case = clips[row]
                number, present = row, case.present
            if present not in places:
                places[present] = np.full(len(of), -1)
            if places[present][number] < 0:
                case = clips[row] if case is None else case
                places[present][number] = len(scores)
                scores.append(plain.logits(case.features, case.masks))
            chosen[row] = places[present][number]
        return OnDemand(scores.__getitem__, chosen)

    return read


def fit_posteriors(
    model: EmotionModel, cases: Sequence[Case], read: Read, shift: Shift = NO_SHIFT
) -> tuple[Calibration, Sequence[Logits]]:
    """The temperatures and the weights of the ways of reading a clip or a step, and the scores of the clips as
    recorded."""
    logits, clips = read(cases), cases
    cases = _without_features(clips)
    heads, step_heads = set[str](), set[str]()
    for item in logits:
        heads.update(item.unimodal)
        step_heads.update(item.unimodal_step)
    alone = Calibration(
        unimodal={
            name: _clip_temperature(
                ((case, item.unimodal[name]) for case, item in zip(cases, logits, strict=True) if name in case.present),
                shift,
            )
            for name in sorted(heads)
        },
        unimodal_step={
            name: _step_temperature(
                ((case, item.unimodal_step[name], case.masks[name]) for case, item in zip(cases, logits, strict=True)),
                shift,
            )
            for name in sorted(step_heads)
        },
        shift=shift,
    )
    plain = Scorer(model, alone)
    weights = replace(alone, clip_ways=_clip_ways(plain, cases, logits), step_ways=_step_ways(plain, cases, logits))
    scorer = Scorer(model, weights)
    step_by_count, clip_by_count = _by_count(scorer, clips, cases, read)
    step, clip = _temperatures(scorer, cases, logits)
    calibration = replace(
        scorer.calibration, step=step, clip=clip, step_by_count=step_by_count, clip_by_count=clip_by_count
    )
    return calibration, logits


def _without_features(clips: Sequence[Case]) -> Sequence[Case]:
    kept: Kept[Case] = kept_like(clips)
    for case in clips:
        kept.append(case.bare)
    return OnDemand(kept.__getitem__, np.arange(len(kept)))


def _temperatures(scorer: Scorer, cases: Sequence[Case], logits: Sequence[Logits]) -> tuple[float, float]:
    """Of steps and of clips."""
    shift = scorer.calibration.shift
    step = _step_temperature(
        ((case, scorer.step_scores(item, case.masks), case.valid) for case, item in zip(cases, logits, strict=True)),
        shift,
    )
    clip = _clip_temperature(
        ((case, scorer.clip_scores(item, case.masks)) for case, item in zip(cases, logits, strict=True)), shift
    )
    return step, clip


def _by_count(
    scorer: Scorer, clips: Sequence[Case], bare: Sequence[Case], read: Read
) -> tuple[dict[int, float], dict[int, float]]:
    """Step and clip temperatures by number of present modalities, over every pattern that the clips can show.

    Args:
        bare: the clips without features.
    """
    step, clip = {}, {}
    for count, shown in _by_how_many(scorer.model.spec.names, clips, bare):
        step[count], clip[count] = _temperatures(scorer, shown.of(bare), read(shown))
    return step, clip


def _by_how_many(names: Sequence[str], clips: Sequence[Case], bare: Sequence[Case]) -> Iterator[tuple[int, Shown]]:
    """Number of modalities → the clips as if only so many had been recorded, each in every way that it can be shown."""
    known: dict[Combination, int] = {}
    present = np.fromiter((known.setdefault(case.present, len(known)) for case in bare), dtype=np.int16)
    for count in range(1, len(names) + 1):
        ways, shown = list[Combination](), set[tuple[Combination, Combination]]()
        numbers, way = list[NDArray[np.int64]](), list[NDArray[np.int16]]()
        for pattern in patterns(names):
            way_of = np.full(len(known), -1, dtype=np.int16)
            for own, code in known.items():
                remaining = tuple(name for name in own if name in pattern)
                if len(remaining) == count and (own, remaining) not in shown:
                    shown.add((own, remaining))
                    way_of[code] = len(ways)
                    ways.append(remaining)
            of_clip = way_of[present]
            numbers.append(np.flatnonzero(of_clip >= 0))
            way.append(of_clip[of_clip >= 0])
        if ways:
            yield count, Shown(clips, np.concatenate(numbers), ways, np.concatenate(way))


def _showing(cases: Sequence[Case], number: int, modalities: Sequence[str]) -> Case:
    """A clip as if only some modalities had been recorded."""
    case = cases[number]
    features, masks = keep(case.features, case.masks, modalities)
    return replace(case, features=features, masks=masks)


def _clip_ways(scorer: Scorer, cases: Sequence[Case], logits: Sequence[Logits]) -> dict[str, float]:
    """The weight of each way of reading a clip, from clips as they were recorded."""
    ways, labels = _RowsByWay(), SpilledRows()
    for case, item in zip(cases, logits, strict=True):
        ways.append({name: row[None] for name, row in scorer.ways(item, case.masks).items()})
        labels.append(np.array([case.clip_label], dtype=np.int64))
    return fit_ways(*_thinned(ways.arrays(), labels.array()), scorer.calibration.shift.clip)


def _step_ways(scorer: Scorer, cases: Sequence[Case], logits: Sequence[Logits]) -> dict[str, float]:
    """The weight of each way of reading a step, from the labelled steps of clips as they were recorded."""
    ways, labels, passed = _RowsByWay(), SpilledRows(), 0
    every = -(-max(1, sum(int(_labelled_steps(case).sum()) for case in cases)) // MOST_STEPS)
    for case, item in zip(cases, logits, strict=True):
        chosen = np.flatnonzero(_labelled_steps(case))
        some = chosen[-passed % every :: every]
        passed += chosen.size
        ways.append({name: rows[some] for name, rows in scorer.step_ways(item, case.masks).items()})
        labels.append(case.step_labels[some])
    return fit_ways(ways.arrays(), labels.array(), scorer.calibration.shift.step)


class _RowsByWay:
    """Gathers the scores of items by way of reading them."""

    def __init__(self) -> None:
        self._rows: dict[str, SpilledRows] = {}

    def append(self, ways: Mapping[str, NDArray[np.floating]]) -> None:
        """Way → (n, K) scores of some items."""
        for name, rows in ways.items():
            self._rows.setdefault(name, SpilledRows()).append(rows)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Way → (N, K) of all of them. Nothing can be added afterwards."""
        return {name: rows.array() for name, rows in self._rows.items()}


def _labelled_steps(case: Case) -> NDArray[np.bool_]:
    return np.asarray((case.step_labels >= 0) & case.valid)


def _step_temperature(items: Iterable[tuple[Case, Rows, NDArray[np.bool_]]], shift: Shift) -> float:
    """Of the scores (T, K) of clips at their valid steps (T,)."""
    rows, truth = SpilledRows(), SpilledRows()
    for case, scores, valid in items:
        chosen = (case.step_labels >= 0) & valid
        rows.append(scores[chosen])
        truth.append(case.step_labels[chosen])
    return _temperature(rows, truth, shift.step)


def _clip_temperature(items: Iterable[tuple[Case, Rows]], shift: Shift) -> float:
    """Of the scores (K,) of clips."""
    rows, truth = SpilledRows(), SpilledRows()
    for case, scores in items:
        rows.append(scores[None])
        truth.append(np.array([case.clip_label], dtype=np.int64))
    return _temperature(rows, truth, shift.clip)


def _temperature(rows: SpilledRows, truth: SpilledRows, shift: Sequence[float]) -> float:
    if not len(rows):
        return 1.0
    scores, labels = _thinned({"": rows.array()}, truth.array())
    return fit_temperature(scores[""], labels, shift)


def _thinned(
    rows: Mapping[str, NDArray[np.floating]], labels: NDArray[np.int64]
) -> tuple[Mapping[str, NDArray[np.floating]], NDArray[np.int64]]:
    """All items, or `MOST_ITEMS` of them."""
    if labels.size <= MOST_ITEMS:
        return rows, labels
    some = thin(labels.size)
    return {name: values[some] for name, values in rows.items()}, labels[some]
