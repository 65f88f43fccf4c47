"""Where the model fails: the classes it confuses, and its most confident mistakes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from components.catalog.cases import Case
from components.evaluation.intervals import rounded
from components.evaluation.measure import Sample
from components.inference.scoring import Scored

SHOWN = 8


def confusions(sample: Sample, classes: Sequence[str], *, count: int = SHOWN) -> dict[str, dict[str, Any]]:
    """The mistakes made most often: `anger as fear` → number of items, share of the true class, number of people.

    Ordered by items, then by share; equals by name.
    """
    table = sample.confusion()
    people = sample.confusion_by_subject()
    rows = [
        (-int(table[truth, answer]), -float(table[truth, answer] / table[truth].sum()), truth, answer)
        for truth in range(len(classes))
        for answer in range(len(classes))
        if truth != answer and table[truth, answer]
    ]
    return {
        f"{classes[truth]} as {classes[answer]}": {
            "items": -items,
            "share": rounded(-share),
            "subjects": int((people[:, truth, answer] > 0).sum()),
        }
        for items, share, truth, answer in sorted(rows)[:count]
    }


def surest_mistakes(
    cases: Sequence[Case], scored: Sequence[Scored], classes: Sequence[str], *, count: int = SHOWN
) -> list[dict[str, Any]]:
    """The labelled clips with a wrong answer, the most confident first; equals by clip id."""
    wrong = (
        {
            "clip": case.clip_id,
            "truth": classes[case.clip_label],
            "answer": classes[answer],
            "confidence": float(item.clip_posterior[answer]),
            "of_truth": float(item.clip_posterior[case.clip_label]),
            "present": list(case.present),
            "planted": sorted({planted.kind.replace("_", " ") for planted in case.planted}),
            "contradiction": item.contradiction,
        }
        for case, item in zip(cases, scored, strict=True)
        if case.clip_label >= 0 and (answer := int(item.clip_posterior.argmax())) != case.clip_label
    )
    return heapq.nsmallest(count, wrong, key=lambda row: (-row["confidence"], row["clip"]))
