"""How good the contradiction score is on unseen people: detection of planted contradictions, and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.evaluation import metrics
from components.evaluation.intervals import Bootstrap, Interval, Subjects, ratio
from components.inference.contradiction import ConflictCurve, ContradictionSpan, find_spans
from components.inference.scoring import Scored

KIND = "contradiction"
Rows = Sequence[tuple[Case, Scored, ConflictCurve]]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


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
    rows = [(case, item, item.moments) for case, item in zip(cases, scored, strict=True) if item.moments is not None]
    if not rows:
        return {}
    people = Subjects.of([case.subject_id for case, *_ in rows])
    planted = np.array([case.has_planted(KIND) for case, *_ in rows], dtype=bool)
    peak = np.array([moments.peak for _, _, moments in rows])
    reached = np.array([(item.contradiction or 0.0) >= threshold for _, item, _ in rows])
    return {
        "clips": len(rows),
        "planted": int(planted.sum()),
        "threshold": threshold,
        "auroc": _auroc(people, peak, planted, bootstrap),
        "recall_at_threshold": _share(people, reached, planted, bootstrap),
        "false_alarms_at_threshold": _share(people, reached, ~planted, bootstrap),
        "step": _step_figures(rows, bootstrap),
        "spans": _span_figures(rows, planted, threshold, classes, bootstrap),
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


def _step_figures(rows: Rows, bootstrap: Bootstrap) -> dict[str, Any]:
    subjects: list[str] = []
    values, planted = [], []
    for case, _, moments in rows:
        conflict = moments.conflict
        known = ~np.isnan(conflict)
        subjects += [case.subject_id] * int(known.sum())
        values.append(conflict[known])
        planted.append(planted_steps(case)[known])
    inside = np.concatenate(planted)
    return {
        "steps": int(inside.size),
        "planted": int(inside.sum()),
        "auroc": _auroc(Subjects.of(subjects), np.concatenate(values), inside, bootstrap),
    }


def _span_figures(
    rows: Rows, planted: Flags, threshold: float, classes: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Any]:
    people = Subjects.of([case.subject_id for case, *_ in rows])
    hit, named = [], []
    for case, item, _ in rows:
        spans = spans_of(case, item, threshold=threshold, classes=classes)
        inside = planted_steps(case)
        overlapping = [span for span in spans if inside[_steps(span, case.rate_hz)].any()]
        changed = {planted.modality for planted in case.planted if planted.kind == KIND}
        hit.append(bool(overlapping))
        named.append(any(changed & set(span.pair) for span in overlapping))
    return {
        "found": _share(people, np.array(hit), planted, bootstrap),
        "found_and_named": _share(people, np.array(named), planted, bootstrap),
    }


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
