from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.catalog.cases import Case
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Ruler
from components.evaluation.subsets import SubsetScores
from components.evaluation.versions.comparison import shortfalls
from components.inference.scoring import Scored
from tests.evaluation.made import make_split

CLASSES = 4
RULER = Ruler(level="clip", bootstrap=Bootstrap(draws=50, confidence=0.95, seed=7), bins=5)


def sure(label: int) -> np.ndarray:
    return np.where(np.arange(CLASSES) == label, 0.97, 0.01).astype(np.float32)


def scored(case: Case, answer: int, **heads: int) -> Scored:
    steps = len(case.step_labels)
    return Scored(
        present=case.present,
        step_posterior=np.tile(sure(answer), (steps, 1)),
        clip_posterior=sure(answer),
        unimodal_posterior={name: sure(label) for name, label in heads.items()},
        moments=None,
        step_contradiction=np.full(steps, np.nan),
    )


def patterns_of(knows: dict[str, bool], *, heads: bool = True, collapses: bool = False) -> list[SubsetScores]:
    """Scores under each pattern of two modalities: right where a present one knows the answer, unless the model
    collapses without the voice; the head of each modality is right if it knows."""
    cases = tuple(case for case in make_split("test", 5) if case.present == ("face", "voice"))
    subsets = []
    for pattern in (("face", "voice"), ("face",), ("voice",)):
        rows = []
        for case in cases:
            right = any(knows[name] for name in pattern) and not (collapses and "voice" not in pattern)
            own = {name: case.clip_label if knows[name] else 0 for name in pattern} if heads else {}
            rows.append(scored(case, case.clip_label if right else 0, **own))
        subsets.append(SubsetScores(modalities=pattern, cases=cases, scored=tuple(rows), places=np.arange(len(cases))))
    return subsets


def fall(subsets: list[SubsetScores], missing: str, ruler: Ruler = RULER) -> tuple[float | None, str]:
    found = shortfalls(subsets, ("face", "voice"), ruler)[missing]
    return found.interval.value, found.alone


def test_what_the_remaining_modality_cannot_know_is_not_held_against_the_model() -> None:
    assert fall(patterns_of({"face": False, "voice": True}), "voice") == (0.0, "face")


def test_a_model_that_forgets_what_the_remaining_modality_knows_falls_short() -> None:
    value, alone = fall(patterns_of({"face": True, "voice": True}, collapses=True), "voice")
    assert alone == "face"
    assert value is not None
    assert value > 0.5


def test_without_heads_or_for_steps_the_models_own_answer_to_one_modality_counts() -> None:
    collapsed = patterns_of({"face": True, "voice": True}, heads=False, collapses=True)
    assert fall(collapsed, "voice") == (0.0, "face")
    steps = replace(RULER, level="step")
    assert fall(patterns_of({"face": True, "voice": True}, collapses=True), "voice", steps) == (0.0, "face")


def test_each_missing_modality_is_compared_with_the_others() -> None:
    found = shortfalls(patterns_of({"face": True, "voice": True}), ("face", "voice"), RULER)
    assert {name: entry.alone for name, entry in found.items()} == {"face": "voice", "voice": "face"}
    assert all(entry.interval.low is not None for entry in found.values())


def test_one_modality_has_nothing_to_compare_with() -> None:
    [_, face, _] = patterns_of({"face": True, "voice": True})
    assert shortfalls([face], ("face",), RULER) == {}
