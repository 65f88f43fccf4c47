"""How good the contradiction score is on unseen people: detection of planted contradictions, and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.evaluation import metrics
from components.evaluation.intervals import Bootstrap, Interval, SubjectRows, Subjects, ratio
from components.evaluation.measure import MOST_ITEMS, thin
from components.inference.contradiction import ContradictionSpan, find_spans
from components.inference.scoring import Scored
from components.runtime.spilled import SpilledRows

KIND = "contradiction"
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
# Of a clip: whether a contradiction was planted, its worst conflict, whether that reaches the threshold, whether a span
# that was found overlaps the planted one, and whether its pair also names the modality that was changed.
CLIP = np.dtype([("planted", "?"), ("peak", "f8"), ("reached", "?"), ("hit", "?"), ("named", "?")])


def contradiction_figures(
    cases: Sequence[Case],
    scored: Sequence[Scored],
    *,
    threshold: float,
    classes: Sequence[str],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """The figures of a test split; empty where no clip has two modalities with an opinion of their own.

    Ranking (AUROC, planted against ordinary) needs planted contradictions and is None without them; the share of
    ordinary clips that reach the threshold is defined for every corpus and should be at most 1 − threshold.

    Returns:
        of clips: `clips`, `planted`, `threshold`, `auroc`, `recall_at_threshold`, `false_alarms_at_threshold`; `step`:
        the same ranking of moments, inside planted spans against all others; `spans`: of planted contradictions those
        that a found span overlaps, and those where its pair also names the modality that was changed.
    """
    people, clips, steps = SubjectRows(), SpilledRows(), _StepRows()
    for case, item in zip(cases, scored, strict=True):
        if item.moments is None:
            continue
        people.append(case.subject_id)
        inside = planted_steps(case)
        overlapping = [
            span
            for span in spans_of(case, item, threshold=threshold, classes=classes)
            if inside[_steps(span, case.rate_hz)].any()
        ]
        changed = {planted.modality for planted in case.planted if planted.kind == KIND}
        named = any(changed & set(span.pair) for span in overlapping)
        reached = (item.contradiction or 0.0) >= threshold
        clips.append(np.array([(case.has_planted(KIND), item.moments.peak, reached, bool(overlapping), named)], CLIP))
        steps.append(case.subject_id, item.moments.conflict, inside)
    if not len(clips):
        return {}
    own, by_clip = people.subjects(), clips.array()
    planted = by_clip["planted"]
    return {
        "clips": len(by_clip),
        "planted": int(planted.sum()),
        "threshold": threshold,
        "auroc": _auroc(own, by_clip["peak"], planted, bootstrap),
        "recall_at_threshold": _share(own, by_clip["reached"], planted, bootstrap),
        "false_alarms_at_threshold": _share(own, by_clip["reached"], ~planted, bootstrap),
        "step": steps.figures(bootstrap),
        "spans": {
            "found": _share(own, by_clip["hit"], planted, bootstrap),
            "found_and_named": _share(own, by_clip["named"], planted, bootstrap),
        },
    }


def planted_steps(case: Case) -> Flags:
    """(T,) True inside a planted contradiction; without times, the whole clip. A step belongs by its centre."""
    centres_s = (np.arange(case.steps) + 0.5) / case.rate_hz
    inside = np.zeros(case.steps, dtype=bool)
    for planted in case.planted:
        if planted.kind == KIND:
            start_s = 0.0 if planted.start_s is None else planted.start_s
            end_s = np.inf if planted.end_s is None else planted.end_s
            inside |= (centres_s >= start_s) & (centres_s < end_s)
    return inside


def spans_of(case: Case, scored: Scored, *, threshold: float, classes: Sequence[str]) -> list[ContradictionSpan]:
    """The contradictions found in a clip; none where fewer than two modalities have an opinion."""
    if scored.moments is None:
        return []
    return find_spans(
        scored.moments, scored.step_contradiction, threshold=threshold, classes=classes, rate_hz=case.rate_hz
    )


class _StepRows:
    """Gathers the steps of clips at which a conflict is known."""

    def __init__(self) -> None:
        self._people, self._values, self._inside = SubjectRows(), SpilledRows(), SpilledRows()

    def append(self, subject: str, conflict: Floats, planted: Flags) -> None:
        """Adds a clip: (T,) its conflict, and which of its steps are planted ones."""
        known = ~np.isnan(conflict)
        self._people.append(subject, int(known.sum()))
        self._values.append(conflict[known])
        self._inside.append(planted[known])

    def figures(self, bootstrap: Bootstrap) -> dict[str, Any]:
        """How many steps, and how well their conflict tells planted ones from others."""
        inside, values, people = self._inside.array(), self._values.array(), self._people.subjects()
        counts = {"steps": int(inside.size), "planted": int(inside.sum())}
        if inside.size > MOST_ITEMS:
            some = thin(inside.size)
            inside, values, people = inside[some], values[some], people.among(some)
        return {**counts, "auroc": _auroc(people, values, inside, bootstrap)}


def _steps(span: ContradictionSpan, rate_hz: float) -> slice:
    return slice(round(span.onset_s * rate_hz), round(span.offset_s * rate_hz))


def _auroc(people: Subjects, values: Floats, positive: Flags, bootstrap: Bootstrap) -> dict[str, float | None]:
    if not positive.any() or positive.all():
        return Interval(value=None, low=None, high=None).to_json()
    return bootstrap.of_items(people, lambda items: metrics.auroc(values[items], positive[items])).to_json()


def _share(people: Subjects, flags: Flags, among: Flags, bootstrap: Bootstrap) -> dict[str, float | None]:
    """The share of flagged items among some; None when there are none."""
    if not among.any():
        return Interval(value=None, low=None, high=None).to_json()
    table = people.sums(np.stack([flags & among, among], axis=1).astype(np.float64))
    return bootstrap.of_sums(table, ratio).to_json()
