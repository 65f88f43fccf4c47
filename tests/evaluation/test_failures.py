from __future__ import annotations

import numpy as np

from components.evaluation.failures import confusions, surest_mistakes
from components.evaluation.measure import Sample
from tests.evaluation.made import CLASSES
from tests.evaluation.test_evaluate import done


def test_confusions_are_counted_most_frequent_first() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2], dtype=np.int64)
    answers = np.array([1, 1, 0, 0, 1, 2])
    sample = Sample(subjects=["a", "b", "a", "a", "a", "b"], truth=truth, posterior=np.eye(4)[answers])
    assert confusions(sample, CLASSES) == {
        "neutral as anger": {"items": 2, "share": 0.666667, "subjects": 2},
        "anger as neutral": {"items": 1, "share": 0.5, "subjects": 1},
    }
    assert list(confusions(sample, CLASSES, count=1)) == ["neutral as anger"]


def test_the_surest_mistakes_are_named() -> None:
    found = done()
    rows = surest_mistakes(found.cases, found.scored, found.classes, count=1000)
    wrong = 1 - found.metrics["clip"]["accuracy"]["value"]
    assert len(rows) == round(wrong * found.metrics["clip"]["items"])
    assert [row["confidence"] for row in rows] == sorted((row["confidence"] for row in rows), reverse=True)
    assert all(row["truth"] != row["answer"] and row["of_truth"] < row["confidence"] for row in rows)
