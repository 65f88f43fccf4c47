"""One evaluation, start to end: fit on the permitted splits, score the test split, judge the gates.

Splits are sequences that may read their clips from disk when they are asked for. Each is gone through a few times, and
what is kept of a clip are its labels, masks and scores, never its features: in memory where the clips are, otherwise in
temporary files, of which memory holds the places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.catalog.cases import Case
from components.contracts.config import Evaluate, Gates, Train
from components.contracts.errors import DataError
from components.contracts.labels import UNLABELLED
from components.evaluation import metrics
from components.evaluation.affect import affect_figures
from components.evaluation.coverage import coverage_figures
from components.evaluation.disagreement import contradiction_figures
from components.evaluation.episodes.decoders import Labelled, episode_figures
from components.evaluation.episodes.events import true_episodes
from components.evaluation.failures import confusions
from components.evaluation.fitting import Fitted, Read, Summary, fit, fit_posteriors, one_by_one
from components.evaluation.gates import Evidence, Gate, judge
from components.evaluation.intervals import Bootstrap, Interval, SubjectRows, rounded
from components.evaluation.measure import Ruler, Sample, Scores, per_class
from components.evaluation.objectives import OBJECTIVES, Priors
from components.evaluation.objectives import figures as objective_figures
from components.evaluation.slices import slice_scores
from components.evaluation.subsets import SubsetScores, sample_of, samples_of, score_subsets
from components.evaluation.versions.comparison import MAJORITY, baseline_samples, differences, shortfalls
from components.inference.calibration import Calibration
from components.inference.episodes import Episode, find_episodes
from components.inference.scoring import Logits, Scored, Scorer
from components.inference.semi_markov import Smoother
from components.model.base import EmotionModel
from components.model.scores import accuracy
from components.runtime.on_demand import OnDemand
from components.runtime.spilled import Spilled
from components.training.samples.balance import LabelCounts

LEVELS = ("clip", "step")
BALANCED = Train()
# How much higher the accuracy on the calibration split must be at least, with the confidence of all intervals, for that
# split to count as far easier than the test split.
FAR_EASIER = 0.1


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The clips of the three splits; no person is in two of them."""

    train: Sequence[Case]
    calibration: Sequence[Case]
    test: Sequence[Case]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of one evaluation.

    Attributes:
        level: "clip" when test clips have clip labels, else "step": what the headline figures are of.
        fitted: temperatures, smoother, thresholds, outlier reference.
        cases, scored, episodes: the test clips with every modality they have, in the order of their ids; without their
            features; some are read from disk, and episodes are found, when they are asked for.
        samples: level → labelled predictions after calibration; uncalibrated: the same before.
        table: one row per pattern of present modalities and per baseline: {"subset", "scores"}.
        metrics: all figures as nested JSON; gates: the conditions for promotion.
    """

    level: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    fitted: Fitted
    cases: Sequence[Case]
    scored: Sequence[Scored]
    episodes: Sequence[Sequence[Episode]]
    samples: Mapping[str, Sample]
    uncalibrated: Mapping[str, Sample]
    table: tuple[tuple[str, Scores], ...]
    metrics: dict[str, Any]
    gates: tuple[Gate, ...]


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """The scores from which figures and gates are computed.

    Attributes:
        subsets: the test clips under each pattern of present modalities, all of them first.
        samples: level → labelled predictions after calibration; uncalibrated: the same before.
        scores: level → scores of `samples`.
        baselines: name → predictions of a baseline at the headline level.
        objectives: objective → level → the scores of the same training's answers for it.
        differences: pattern or baseline → macro-F1 of everything minus its own.
    """

    ruler: Ruler
    fitted: Fitted
    objectives: Mapping[str, Any]
    subsets: Sequence[SubsetScores]
    samples: Mapping[str, Sample]
    uncalibrated: Mapping[str, Sample]
    scores: Mapping[str, Scores]
    table: Sequence[tuple[str, Scores]]
    baselines: Sequence[tuple[str, Scores]]
    differences: Mapping[str, Interval]

    @property
    def whole(self) -> SubsetScores:
        """The test clips with every modality they have."""
        return self.subsets[0]


def evaluate(
    model: EmotionModel,
    splits: Splits,
    *,
    config: Evaluate,
    gates: Gates,
    seed: int,
    first: EmotionModel | None = None,
    train: Train = BALANCED,
    advance: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Evaluates a model.

    Args:
        model: the model that answers the test split.
        first: the model used for fitting, where `model` was trained on the calibration people too (see
            `components/training/stage.py`): it would be more confident on them than on unseen people.
        seed: of the bootstrap.
        train: how the model was trained, and the objective that it answers for.

    Raises:
        DataError: no test clip has a label and a valid step.
    """
    classes, read = model.spec.classes, one_by_one(first or model)
    learned = Summary.of(splits.train, len(classes))
    priors = Priors.of(learned.learned, train, len(classes))
    shifts = {name: priors.shift(name, train) for name in OBJECTIVES}
    fitted = fit(first or model, learned, splits.calibration, config, shift=shifts[train.objective], read=read)
    calibrations: dict[str, Calibration] = {
        name: fitted.calibration
        if name == train.objective
        else fit_posteriors(first or model, splits.calibration, read, shift)[0]
        for name, shift in shifts.items()
    }
    subsets = _scored_subsets(Scorer(model, fitted.calibration), splits.test, advance)
    modalities = subsets[0].modalities
    bootstrap = Bootstrap(draws=config.bootstrap, confidence=config.confidence, seed=seed)
    measured = _measured(
        model,
        fitted,
        calibrations,
        subsets,
        train=learned.labels,
        test=splits.test,
        bootstrap=bootstrap,
        bins=config.calibration_bins,
    )
    whole = measured.whole
    figures = _figures(measured, splits, classes, objective=train.objective, refit=first is not None)
    if easier := _easier(Scorer(first or model, fitted.calibration), splits.calibration, read, measured):
        figures["calibration_split"] = easier
    return Evaluation(
        level=measured.ruler.level,
        classes=classes,
        modalities=modalities,
        fitted=fitted,
        cases=whole.cases,
        scored=whole.scored,
        episodes=_episodes(whole, classes, fitted.smoother),
        samples=measured.samples,
        uncalibrated=measured.uncalibrated,
        table=(*measured.table, *measured.baselines),
        metrics=figures,
        gates=_judged(measured, figures, gates, modalities),
    )


def _scored_subsets(scorer: Scorer, test: Sequence[Case], advance: Callable[[int], None]) -> list[SubsetScores]:
    present, level = _seen(test)
    modalities = tuple(name for name in scorer.model.spec.names if name in present)
    subsets = score_subsets(scorer, test, modalities, level=level, advance=advance)
    if not subsets:
        raise DataError(
            "no test clip can be scored",
            where="evaluate",
            seen=f"{len(test)} test clips",
            remedy="See the quarantine of the features and validation stages.",
        )
    return subsets


def _seen(test: Sequence[Case]) -> tuple[set[str], str]:
    """The modalities that clips have, and "clip" where any has a label of its own, otherwise "step"."""
    present, level = set[str](), "step"
    for case in test:
        present.update(case.present)
        level = "clip" if case.clip_label != UNLABELLED else level
    return present, level


def _measured(
    model: EmotionModel,
    fitted: Fitted,
    calibrations: Mapping[str, Calibration],
    subsets: Sequence[SubsetScores],
    *,
    train: LabelCounts,
    test: Sequence[Case],
    bootstrap: Bootstrap,
    bins: int,
) -> _Measured:
    """Samples of the test split and of the baselines, their scores, and how they differ. The features of `test` are
    read once more."""
    whole = subsets[0]
    samples = samples_of(zip(whole.cases, whole.scored, strict=True), whole.modalities, LEVELS)
    if not samples:
        raise DataError("no test clip has a label", where="evaluate", remedy="Label some clips of unseen people.")
    ruler = Ruler(level="clip" if "clip" in samples else "step", bootstrap=bootstrap, bins=bins)
    # The scores before calibration are read once, and serve every objective.
    logits = _logits(model, test, whole.modalities)
    baselines = baseline_samples(train, whole, level=ruler.level)
    return _Measured(
        ruler=ruler,
        fitted=fitted,
        objectives={
            name: objective_figures(
                samples
                if calibration is fitted.calibration
                else _samples(Scorer(model, calibration), whole, logits, samples),
                bootstrap=bootstrap,
                bins=bins,
            )
            for name, calibration in calibrations.items()
        },
        subsets=subsets,
        samples=samples,
        uncalibrated=_samples(Scorer(model, Calibration(shift=fitted.calibration.shift)), whole, logits, samples),
        scores={level: ruler.scores(sample) for level, sample in samples.items()},
        table=[
            (subset.name, ruler.scores(sample))
            for subset in subsets
            if (sample := sample_of(subset, ruler.level)) is not None
        ],
        baselines=[(name, ruler.scores(sample)) for name, sample in baselines.items()],
        differences=differences(subsets, baselines, ruler),
    )


def _logits(model: EmotionModel, test: Sequence[Case], modalities: Sequence[str]) -> Sequence[Logits]:
    """Of the clips that have any of the modalities."""
    scorer = Scorer(model, Calibration())
    shown = (case for case in test if any(name in modalities for name in case.present))
    return Spilled(scorer.logits(case.features, case.masks) for case in shown)


def _samples(
    scorer: Scorer, whole: SubsetScores, logits: Sequence[Logits], levels: Collection[str]
) -> dict[str, Sample]:
    """The predictions under a different calibration, at the same levels."""
    scored = ((case, scorer.calibrated(item, case.masks)) for case, item in zip(whole.cases, logits, strict=True))
    return samples_of(scored, whole.modalities, [level for level in LEVELS if level in levels])


def _episodes(whole: SubsetScores, classes: Sequence[str], smoother: Smoother) -> Sequence[Sequence[Episode]]:
    """Those of each clip, found whenever they are asked for."""

    def of(place: int) -> Sequence[Episode]:
        case = whole.cases[place]
        return find_episodes(whole.scored[place].step_posterior, case.valid, classes, case.rate_hz, smoother)

    return OnDemand(of, np.arange(len(whole.cases)))


def _judged(
    measured: _Measured, figures: Mapping[str, Any], gates: Gates, modalities: Sequence[str]
) -> tuple[Gate, ...]:
    scores = measured.scores[measured.ruler.level]
    majority = dict(measured.baselines)[MAJORITY]
    evidence = Evidence(
        level=measured.ruler.level,
        macro_f1=scores.macro_f1,
        majority_f1=majority.macro_f1.value or 0.0,
        ece=scores.ece,
        shortfalls=shortfalls(measured.subsets, modalities, measured.ruler),
        figures=figures,
    )
    return tuple(judge(gates, evidence))


def _easier(scorer: Scorer, calibration: Sequence[Case], read: Read, measured: _Measured) -> dict[str, Any] | None:
    """How much easier the calibration split is than the test split, by the model that learned from neither; None where
    it has no labelled item."""
    ruler = measured.ruler
    scored = (
        (case, scorer.calibrated(item, case.masks)) for case, item in zip(calibration, read(calibration), strict=True)
    )
    sample = samples_of(scored, scorer.model.spec.names, [ruler.level]).get(ruler.level)
    if sample is None:
        return None
    people, tested = sample.confusion_by_subject(), measured.samples[ruler.level].confusion_by_subject()
    easier = ruler.bootstrap.apart(people, tested, accuracy)
    return {
        "accuracy": ruler.bootstrap.of_sums(people, accuracy).to_json(),
        "minus_test": easier.to_json(),
        "far_easier": easier.low is not None and easier.low >= FAR_EASIER,
    }


def _figures(
    measured: _Measured, splits: Splits, classes: Sequence[str], *, objective: str, refit: bool
) -> dict[str, Any]:
    """All figures as nested JSON; a part that cannot be measured is left out."""
    ruler, fitted, whole = measured.ruler, measured.fitted, measured.whole
    headline = measured.samples[ruler.level]
    figures: dict[str, Any] = {
        "level": ruler.level,
        "objective": objective,
        "objectives": measured.objectives,
        **{level: scores.to_json() for level, scores in measured.scores.items()},
        "per_class": {row.pop("class"): row for row in per_class(headline, classes, bootstrap=ruler.bootstrap)},
        "confusions": confusions(headline, classes),
        "subsets": {name: scores.to_json() for name, scores in measured.table},
        "baselines": {name: scores.to_json() for name, scores in measured.baselines},
        "all_minus": {name: interval.to_json() for name, interval in measured.differences.items()},
        "calibration": _calibration_figures(measured),
        "coverage": coverage_figures(headline, ruler.bootstrap),
        "episodes": _episode_figures(whole, fitted, classes, ruler.bootstrap),
        "slices": _slices(whole, headline, ruler),
        "outside_training": _outside(fitted, splits.test),
        "counts": {
            "train": len(splits.train),
            "calibration": len(splits.calibration),
            "test": len(splits.test),
            "test_subjects": len({case.subject_id for case in whole.cases}),
        },
        **({"refit": True} if refit else {}),
    }
    disagreement = contradiction_figures(
        whole.cases,
        whole.scored,
        threshold=fitted.calibration.contradiction_threshold,
        classes=classes,
        bootstrap=ruler.bootstrap,
    )
    if disagreement:
        figures["contradiction"] = disagreement
    if affect := affect_figures(whole.cases, whole.scored, ruler.bootstrap):
        figures["affect"] = affect
    return figures


def _calibration_figures(measured: _Measured) -> dict[str, Any]:
    ruler = measured.ruler
    figures: dict[str, Any] = {"temperatures": measured.fitted.calibration.temperatures()}
    for level, after in measured.samples.items():
        before = measured.uncalibrated[level]
        figures[level] = {
            "ece_before": ruler.ece(before).to_json(),
            "ece_after": ruler.ece(after).to_json(),
            "equal_mass_before": rounded(_equal_mass(before, ruler.bins)),
            "equal_mass_after": rounded(_equal_mass(after, ruler.bins)),
            "nll_before": rounded(before.nll()),
            "nll_after": rounded(after.nll()),
        }
    return figures


def _equal_mass(sample: Sample, bins: int) -> float:
    """ECE over bins of equally many items."""
    some = sample.thinned()
    return float(metrics.ece(metrics.mass_bins(some.posterior, some.truth, bins)))


def _episode_figures(
    whole: SubsetScores, fitted: Fitted, classes: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Any]:
    """Smoothing beside thresholds and no smoothing, on clips with step labels."""
    has_labels = np.fromiter((bool((case.step_labels >= 0).any()) for case in whole.cases), dtype=bool)

    def clip(place: int) -> Labelled:
        case = whole.cases[place]
        return Labelled(case, whole.scored[place].step_posterior, true_episodes(case, classes))

    clips = OnDemand(clip, np.flatnonzero(has_labels))
    return episode_figures(clips, classes, smoother=fitted.smoother, thresholds=fitted.thresholds, bootstrap=bootstrap)


def _slices(whole: SubsetScores, sample: Sample, ruler: Ruler) -> dict[str, Any]:
    keys = {key for case in whole.cases for key in case.groups}
    groups = {key: SubjectRows() for key in {*keys, "dataset"}}
    for case in whole.cases:
        items = (
            int(case.clip_label >= 0) if ruler.level == "clip" else int(((case.step_labels >= 0) & case.valid).sum())
        )
        for key, values in groups.items():
            values.append(case.dataset if key == "dataset" else case.groups.get(key, ""), items)
    of_item = {key: values.subjects() for key, values in groups.items()}
    return slice_scores(sample, of_item, bootstrap=ruler.bootstrap, bins=ruler.bins)


def _outside(fitted: Fitted, cases: Sequence[Case]) -> dict[str, Any]:
    """Share of test clips judged outside of training, by modality: of unseen people, so it should be small."""
    clips, outside = Counter[str](), Counter[str]()
    for case in cases:
        for name, judgement in fitted.reference.judge(case.features, case.masks).items():
            clips[name] += 1
            outside[name] += judgement.outside
    return {name: {"share": rounded(outside[name] / count), "clips": count} for name, count in sorted(clips.items())}
