"""How well valence and arousal are predicted, on rated clips of unseen people."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.catalog.cases import Case
from components.evaluation import metrics
from components.evaluation.intervals import Bootstrap, SubjectRows
from components.inference.scoring import Scored

NAMES = ("valence", "arousal")


def affect_figures(cases: Sequence[Case], scored: Sequence[Scored], bootstrap: Bootstrap) -> dict[str, Any]:
    """Name → concordance with its interval over people, and the count of rated clips; empty without head or ratings."""
    figures: dict[str, Any] = {}
    for place, name in enumerate(NAMES):
        people, truth, predicted = SubjectRows(), array("d"), array("d")
        for case, item in zip(cases, scored, strict=True):
            if item.valence_arousal is not None and np.isfinite(case.valence_arousal[place]):
                people.append(case.subject_id)
                truth.append(case.valence_arousal[place])
                predicted.append(item.valence_arousal[place])
        if not truth:
            continue
        sums = people.subjects().sums(metrics.moments(np.array(truth), np.array(predicted)))
        figures[name] = {"ccc": bootstrap.of_sums(sums, metrics.ccc).to_json(), "clips": len(truth)}
    return figures
