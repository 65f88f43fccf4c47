"""Everything that is fitted after training, on the splits that may be fitted on: never on the test split.

Temperatures, the contradiction threshold and the smoother's transition weight come from the calibration split; the mean
duration of an emotion and the outlier Gaussians from the training split, the outlier thresholds from both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.catalog.cases import Case
from components.contracts.config import Evaluate
from components.evaluation.calibration import Calibration, fit_temperature
from components.evaluation.episodes import Smoother, find_episodes, runs
from components.evaluation.events import clip_events, mean_f1, true_episodes
from components.evaluation.outliers import Reference, pool
from components.evaluation.scoring import Logits, Scorer
from components.model.base import EmotionModel

# Few and far apart: a calibration split holds tens of events, which cannot tell finer ones apart.
TRANSITION_WEIGHTS = (0.125, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What fitting gives."""

    calibration: Calibration
    smoother: Smoother
    reference: Reference


def fit(model: EmotionModel, train: Sequence[Case], calibration: Sequence[Case], config: Evaluate) -> Fitted:
    """Fits everything; the two splits must not share a person."""
    temperatures = fit_calibration(model, calibration, quantile=config.contradiction_quantile)
    durations = [duration for case in train for duration in label_durations(case)]
    return Fitted(
        calibration=temperatures,
        smoother=fit_smoother(Scorer(model, temperatures), calibration, Smoother.fit(durations)),
        reference=Reference.fit(
            [pool(case.features, case.masks) for case in train],
            [pool(case.features, case.masks) for case in calibration],
            people=[case.subject_id for case in train],
            quantile=config.outlier_quantile,
        ),
    )


def fit_smoother(scorer: Scorer, cases: Sequence[Case], start: Smoother) -> Smoother:
    """Chooses the transition weight by the mean event F1 on the calibration split; of equals the calmest."""
    labelled = [case for case in cases if (case.step_labels >= 0).any()]
    if not labelled:
        return start
    classes = scorer.model.spec.classes
    scored = [scorer.score(case.features, case.masks).step_posterior for case in labelled]
    truth = [true_episodes(case, classes) for case in labelled]

    def quality(smoother: Smoother) -> float:
        return mean_f1(
            [
                clip_events(case, true, find_episodes(posterior, case.valid, classes, case.rate_hz, smoother))
                for case, true, posterior in zip(labelled, truth, scored, strict=True)
            ]
        )

    candidates = [replace(start, transition_weight=weight) for weight in TRANSITION_WEIGHTS]
    return max(candidates, key=lambda smoother: (round(quality(smoother), 6), smoother.transition_weight))


def fit_calibration(model: EmotionModel, cases: Sequence[Case], *, quantile: float) -> Calibration:
    """One temperature a head on the calibration split; heads without a labelled item keep 1.

    The contradiction threshold is a quantile of the scores of the clips in which no contradiction was planted.
    """
    scorer = Scorer(model, Calibration())
    logits = [scorer.logits(case.features, case.masks) for case in cases]
    found = Calibration(
        step=_step_temperature(cases, logits),
        clip=_clip_temperature(cases, [item.clip for item in logits]),
        unimodal={
            name: _clip_temperature(
                [case for case in cases if name in case.present],
                [item.unimodal[name] for case, item in zip(cases, logits, strict=True) if name in case.present],
            )
            for name in model.spec.names
        },
    )
    calibrated = Scorer(model, found)
    scores = [
        calibrated.calibrated(item, case.masks).contradiction
        for case, item in zip(cases, logits, strict=True)
        if len(case.present) > 1 and not case.has_planted("contradiction")
    ]
    if not scores:
        return found
    threshold = round(float(np.quantile(scores, quantile, method="higher")), 6)
    return replace(found, contradiction_threshold=threshold)


def label_durations(case: Case) -> list[float]:
    """Seconds of each run of equal step labels."""
    known = case.step_labels[case.step_labels >= 0]
    return [(last - first) / case.rate_hz for _, first, last in runs(known)]


def _step_temperature(cases: Sequence[Case], logits: Sequence[Logits]) -> float:
    rows, truth = [], []
    for case, item in zip(cases, logits, strict=True):
        chosen = (case.step_labels >= 0) & case.valid
        rows.append(item.step[chosen])
        truth.append(case.step_labels[chosen])
    return fit_temperature(np.concatenate(rows), np.concatenate(truth)) if rows else 1.0


def _clip_temperature(cases: Sequence[Case], rows: Sequence[np.ndarray[tuple[int], np.dtype[np.float32]]]) -> float:
    if not rows:
        return 1.0
    return fit_temperature(np.stack(rows), np.array([case.clip_label for case in cases], dtype=np.int64))
