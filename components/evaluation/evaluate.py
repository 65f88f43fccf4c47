"""One evaluation, start to end, in memory: fit what may be fitted, score the test split, judge the gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.contracts.config import Evaluate, Gates
from components.contracts.errors import DataError
from components.evaluation import metrics
from components.evaluation.affect import affect_figures
from components.evaluation.decoders import episode_figures, labelled
from components.evaluation.disagreement import contradiction_figures
from components.evaluation.failures import confusions
from components.evaluation.fitting import Fitted, fit
from components.evaluation.gates import Evidence, Gate, judge
from components.evaluation.intervals import Bootstrap, Interval, rounded
from components.evaluation.measure import Sample, Scores, ece_of_sums, measure, paired, per_class
from components.evaluation.slices import slice_scores
from components.evaluation.subsets import SubsetScores, clip_sample, sample_of, score_subsets, step_sample
from components.inference.calibration import Calibration
from components.inference.episodes import Episode, find_episodes
from components.inference.probabilities import product_of_experts
from components.inference.scoring import Scored, Scorer
from components.model.base import EmotionModel

LEVELS = ("clip", "step")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one evaluation found.

    Attributes:
        level: "clip" when test clips have clip labels, else "step": what the headline figures are of.
        fitted: temperatures, smoother, thresholds, outlier reference.
        cases, scored, episodes: the test clips with every modality they have, in the order of their ids.
        samples: level → labelled predictions after calibration; uncalibrated: the same before.
        table: one row a pattern of present modalities and baseline: {"subset", "scores"}.
        metrics: all figures as nested JSON; gates: the conditions for promotion.
    """

    level: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    fitted: Fitted
    cases: tuple[Case, ...]
    scored: tuple[Scored, ...]
    episodes: tuple[tuple[Episode, ...], ...]
    samples: Mapping[str, Sample]
    uncalibrated: Mapping[str, Sample]
    table: tuple[tuple[str, Scores], ...]
    metrics: dict[str, Any]
    gates: tuple[Gate, ...]


def evaluate(
    model: EmotionModel,
    *,
    train: Sequence[Case],
    calibration: Sequence[Case],
    test: Sequence[Case],
    config: Evaluate,
    gates: Gates,
    seed: int,
    first: EmotionModel | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Evaluates a model.

    Args:
        model: what answers the test split.
        train, calibration, test: the three splits; nobody is in two of them.
        first: with what everything is fitted, where `model` has learned from the calibration people too (see
            `components/training/stage.py`): its answers to them would be surer than to anybody else.
        seed: of the bootstrap.

    Raises:
        DataError: no test clip has a label and a valid step.
    """
    classes = model.spec.classes
    bootstrap = Bootstrap(draws=config.bootstrap, confidence=config.confidence, seed=seed)
    fitted = fit(first or model, train, calibration, config)
    modalities = tuple(name for name in model.spec.names if any(name in case.present for case in test))
    subsets = score_subsets(Scorer(model, fitted.calibration), test, modalities, advance=advance) if test else []
    if not subsets:
        raise DataError(
            "no test clip can be scored",
            where="evaluate",
            seen=f"{len(test)} test clips",
            remedy="Look at the quarantine of the features and validation stages.",
        )
    whole = subsets[0]
    samples = {level: sample for level in LEVELS if (sample := sample_of(whole, level)) is not None}
    if not samples:
        raise DataError("no test clip has a label", where="evaluate", remedy="Label some clips of unseen people.")
    level = "clip" if "clip" in samples else "step"
    plain = _uncalibrated(model, whole)
    uncalibrated = {name: sample for name, sample in plain.items() if name in samples}
    table = _table(subsets, level, bootstrap, config.calibration_bins)
    baselines, baseline_samples = _baselines(
        train, whole, level=level, classes=len(classes), bootstrap=bootstrap, bins=config.calibration_bins
    )
    scores = {
        name: measure(sample, bootstrap=bootstrap, bins=config.calibration_bins) for name, sample in samples.items()
    }
    majority_f1 = baselines[0][1].macro_f1.value or 0.0
    differences = _differences(subsets, whole, level, baseline_samples, bootstrap)
    found = [
        find_episodes(scored.step_posterior, case.valid, classes, case.rate_hz, fitted.smoother)
        for case, scored in zip(whole.cases, whole.scored, strict=True)
    ]
    figures: dict[str, Any] = {
        "level": level,
        **{name: value.to_json() for name, value in scores.items()},
        "per_class": {row.pop("class"): row for row in per_class(samples[level], classes, bootstrap=bootstrap)},
        "confusions": confusions(samples[level], classes),
        "subsets": {name: value.to_json() for name, value in table},
        "baselines": {name: value.to_json() for name, value in baselines},
        "all_minus": {name: value.to_json() for name, value in differences.items()},
        "calibration": _calibration_figures(
            fitted.calibration, samples, uncalibrated, bootstrap, config.calibration_bins
        ),
        "episodes": _episode_figures(whole, fitted, classes, bootstrap),
        "slices": _slices(whole, samples[level], level, bootstrap, config.calibration_bins),
        "outside_training": _outside(fitted, whole.cases),
        "counts": {
            "train": len(train),
            "calibration": len(calibration),
            "test": len(test),
            "test_subjects": len({case.subject_id for case in test}),
        },
        **({"refit": True} if first is not None else {}),
    }
    disagreement = contradiction_figures(
        whole.cases,
        whole.scored,
        threshold=fitted.calibration.contradiction_threshold,
        classes=classes,
        bootstrap=bootstrap,
    )
    if disagreement:
        figures["contradiction"] = disagreement
    if affect := affect_figures(whole.cases, whole.scored, bootstrap):
        figures["affect"] = affect
    evidence = Evidence(
        level=level,
        macro_f1=scores[level].macro_f1,
        majority_f1=majority_f1,
        ece=scores[level].ece.value,
        drops=_drops(differences, modalities),
        figures=figures,
    )
    return Evaluation(
        level=level,
        classes=classes,
        modalities=modalities,
        fitted=fitted,
        cases=whole.cases,
        scored=whole.scored,
        episodes=tuple(tuple(episodes) for episodes in found),
        samples=samples,
        uncalibrated=uncalibrated,
        table=(*table, *baselines),
        metrics=figures,
        gates=tuple(judge(gates, evidence)),
    )


def _uncalibrated(model: EmotionModel, whole: SubsetScores) -> dict[str, Sample]:
    scorer = Scorer(model, Calibration())
    scored = [scorer.score(case.features, case.masks) for case in whole.cases]
    found = {
        "clip": clip_sample(whole.cases, [item.clip_posterior for item in scored]),
        "step": step_sample(whole.cases, [item.step_posterior for item in scored], whole.modalities),
    }
    return {name: sample for name, sample in found.items() if sample is not None}


def _table(subsets: Sequence[SubsetScores], level: str, bootstrap: Bootstrap, bins: int) -> list[tuple[str, Scores]]:
    rows = []
    for subset in subsets:
        sample = sample_of(subset, level)
        if sample is not None:
            rows.append((subset.name, measure(sample, bootstrap=bootstrap, bins=bins)))
    return rows


def _baselines(
    train: Sequence[Case], whole: SubsetScores, *, level: str, classes: int, bootstrap: Bootstrap, bins: int
) -> tuple[list[tuple[str, Scores]], dict[str, Sample]]:
    """Always the most frequent class of the training split; the product of the unimodal heads (clips only)."""
    labels = (
        np.array([case.clip_label for case in train], dtype=np.int64)
        if level == "clip"
        else np.concatenate([case.step_labels for case in train] or [np.empty(0, dtype=np.int64)])
    )
    counts = np.bincount(labels[labels >= 0], minlength=classes).astype(np.float64)
    prior = counts / counts.sum() if counts.sum() else np.full(classes, 1 / classes)
    constant: list[NDArray[np.floating]] = (
        [prior] * len(whole.cases)
        if level == "clip"
        else [np.tile(prior, (case.valid.size, 1)) for case in whole.cases]
    )
    samples = {"majority": _sample(whole, level, constant)}
    # A model without heads of each modality has no experts.
    if level == "clip" and len(whole.modalities) > 1 and all(scored.unimodal_posterior for scored in whole.scored):
        products = [product_of_experts(scored.unimodal_posterior) for scored in whole.scored]
        samples["product_of_experts"] = _sample(whole, level, products)
    return [(name, measure(sample, bootstrap=bootstrap, bins=bins)) for name, sample in samples.items()], samples


def _sample(whole: SubsetScores, level: str, posteriors: Sequence[NDArray[np.floating]]) -> Sample:
    sample = (
        clip_sample(whole.cases, posteriors)
        if level == "clip"
        else step_sample(whole.cases, posteriors, whole.modalities)
    )
    if sample is None:
        raise DataError("no test clip has a label", where="evaluate")
    return sample


def _differences(
    subsets: Sequence[SubsetScores],
    whole: SubsetScores,
    level: str,
    baselines: Mapping[str, Sample],
    bootstrap: Bootstrap,
) -> dict[str, Interval]:
    """Pattern or baseline → macro-F1 of everything minus its own, paired, on the clips that both scored."""
    scored = {case.clip_id: item for case, item in zip(whole.cases, whole.scored, strict=True)}
    differences: dict[str, Interval] = {}
    for subset in subsets[1:]:
        reference = SubsetScores(
            modalities=subset.modalities,
            cases=subset.cases,
            scored=tuple(scored[case.clip_id] for case in subset.cases),
        )
        # The step samples must hold the same steps: those at which a modality of the smaller pattern is valid.
        first, second = sample_of(reference, level), sample_of(subset, level)
        if first is not None and second is not None:
            differences[subset.name] = paired(first, second, bootstrap=bootstrap)
    everything = sample_of(whole, level)
    for name, sample in baselines.items():
        if everything is not None:
            differences[name] = paired(everything, sample, bootstrap=bootstrap)
    return differences


def _drops(differences: Mapping[str, Interval], modalities: Sequence[str]) -> dict[str, float]:
    """Modality → macro-F1 lost when it alone is missing."""
    without = {name: "+".join(other for other in modalities if other != name) for name in modalities}
    return {
        name: value
        for name, pattern in without.items()
        if pattern in differences and (value := differences[pattern].value) is not None
    }


def _calibration_figures(
    calibration: Calibration,
    after: Mapping[str, Sample],
    before: Mapping[str, Sample],
    bootstrap: Bootstrap,
    bins: int,
) -> dict[str, Any]:
    figures: dict[str, Any] = {"temperatures": calibration.temperatures()}
    for level, sample in after.items():
        figures[level] = {
            "ece_before": bootstrap.of_sums(before[level].bins_by_subject(bins), ece_of_sums).to_json(),
            "ece_after": bootstrap.of_sums(sample.bins_by_subject(bins), ece_of_sums).to_json(),
            "equal_mass_before": rounded(_equal_mass(before[level], bins)),
            "equal_mass_after": rounded(_equal_mass(sample, bins)),
            "nll_before": rounded(metrics.nll(before[level].posterior, before[level].truth)),
            "nll_after": rounded(metrics.nll(sample.posterior, sample.truth)),
        }
    return figures


def _equal_mass(sample: Sample, bins: int) -> float:
    """ECE over bins of equally many items."""
    return float(metrics.ece(metrics.mass_bins(sample.posterior, sample.truth, bins)))


def _episode_figures(
    whole: SubsetScores, fitted: Fitted, classes: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Any]:
    """Smoothing beside thresholds and no smoothing, on clips with step labels."""
    clips = labelled(whole.cases, [scored.step_posterior for scored in whole.scored], classes)
    return episode_figures(clips, classes, smoother=fitted.smoother, thresholds=fitted.thresholds, bootstrap=bootstrap)


def _slices(whole: SubsetScores, sample: Sample, level: str, bootstrap: Bootstrap, bins: int) -> dict[str, Any]:
    groups: list[dict[str, str]] = []
    for case in whole.cases:
        labels = {**case.groups, "dataset": case.dataset}
        if level == "clip":
            groups.extend([labels] * int(case.clip_label >= 0))
        else:
            groups.extend([labels] * int(((case.step_labels >= 0) & case.valid).sum()))
    return slice_scores(sample, groups, bootstrap=bootstrap, bins=bins)


def _outside(fitted: Fitted, cases: Sequence[Case]) -> dict[str, Any]:
    """Share of test clips that are called outside of training, by modality: unseen people, so it should be small."""
    seen: dict[str, list[bool]] = {}
    for case in cases:
        for name, judgement in fitted.reference.judge(case.features, case.masks).items():
            seen.setdefault(name, []).append(judgement.outside)
    return {
        name: {"share": rounded(float(np.mean(flags))), "clips": len(flags)} for name, flags in sorted(seen.items())
    }
