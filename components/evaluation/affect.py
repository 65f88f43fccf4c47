"""How well valence and arousal are predicted, on rated clips of unseen people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.catalog.cases import Case
from components.evaluation import metrics
from components.evaluation.intervals import Bootstrap, Subjects
from components.inference.scoring import Scored

NAMES = ("valence", "arousal")


def affect_figures(cases: Sequence[Case], scored: Sequence[Scored], bootstrap: Bootstrap) -> dict[str, Any]:
    """Name → concordance with its interval over people, and the count of rated clips; empty without head or ratings."""
    figures: dict[str, Any] = {}
    for place, name in enumerate(NAMES):
        rated = [
            (case.subject_id, case.valence_arousal[place], item.valence_arousal[place])
            for case, item in zip(cases, scored, strict=True)
            if item.valence_arousal is not None and np.isfinite(case.valence_arousal[place])
        ]
        if not rated:
            continue
        truth, predicted = (np.array([row[column] for row in rated], dtype=np.float64) for column in (1, 2))
        sums = Subjects.of([row[0] for row in rated]).sums(metrics.moments(truth, predicted))
        figures[name] = {"ccc": bootstrap.of_sums(sums, metrics.ccc).to_json(), "clips": len(rated)}
    return figures
