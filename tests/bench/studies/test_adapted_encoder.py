from __future__ import annotations

import numpy as np

from bench.studies.adapted_encoder import ADAPTED, AGAIN, CANDIDATES, FROZEN, ONCE, best, table
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample


def answers(right: int, *, people: int = 6, each: int = 10) -> Sample:
    """So many right answers per person, the other answers wrong."""
    truth = np.tile(np.arange(each) % 2, people)
    wrong = np.tile(np.arange(each) >= right, people)
    return Sample(
        subjects=[f"p{person}" for person in range(people) for _ in range(each)],
        truth=truth,
        posterior=np.eye(2)[np.where(wrong, 1 - truth, truth)],
    )


def test_the_best_on_held_out_people_is_chosen_and_of_equals_the_first() -> None:
    assert best({"lora": answers(6), "weights": answers(8)}) == "weights"
    assert best({"lora": answers(8), "weights": answers(8)}) == "lora"
    assert len({str(settings) for settings in CANDIDATES.values()}) == len(CANDIDATES)


def test_only_folds_that_both_have_are_compared() -> None:
    made = {
        FROZEN: {(0, ONCE): answers(6), (1, ONCE): answers(6), (0, AGAIN): answers(7)},
        ADAPTED: {(0, ONCE): answers(8), (2, ONCE): answers(0), (0, AGAIN): answers(6)},
    }
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(made, Bootstrap(seed=1))][2:]
    assert [row[:3] for row in rows] == [
        [ONCE, "0", FROZEN],
        [ONCE, "0", ADAPTED],
        [AGAIN, "0", FROZEN],
        [AGAIN, "0", ADAPTED],
    ]
    assert [row[3].split()[0] for row in rows] == ["0.600", "0.800", "0.700", "0.600"]
    assert [row[4].split()[0] for row in rows] == ["–", "0.200", "–", "-0.100"]
