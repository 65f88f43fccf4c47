from __future__ import annotations

import math

import numpy as np

from components.catalog.cases import Case, prepare, shown_clips
from components.catalog.examples import Example
from components.contracts.labels import UNLABELLED
from components.features.base import Encoded
from components.features.transform import Transform
from tests.evaluation.made import make_split

RNG = np.random.default_rng(0)


def example(*, valid: bool = True, **fields: object) -> Example:
    values = {
        "clip_id": "a/1",
        "dataset": "a",
        "subject_id": "a/s",
        "split": "train",
        "encoded": {"face": Encoded(RNG.normal(size=(4, 3)).astype(np.float32), np.full(4, valid))},
        "num_steps": 4,
        "rate_hz": 10.0,
        "step_labels": np.full(4, UNLABELLED),
        "clip_label": 1,
        "groups": {"gender": "female"},
        "planted": (),
        "valence": None,
        "arousal": 0.5,
        **fields,
    }
    return Example(**values)  # type: ignore[arg-type]


def prepared(*examples: Example) -> list[Case]:
    return prepare(examples, Transform.fit([example().encoded], {"face": 3}))


def test_a_case_keeps_what_an_example_says_and_leaves_out_a_clip_without_a_valid_step() -> None:
    (case,) = prepared(example(), example(clip_id="a/2", valid=False))
    assert (case.clip_id, case.dataset, case.subject_id, case.steps) == ("a/1", "a", "a/s", 4)
    assert case.groups == {"gender": "female"}
    assert math.isnan(case.valence_arousal[0])
    assert case.valence_arousal[1] == 0.5
    assert case.present == ("face",)


def test_usable_wants_a_label_on_the_clip_or_on_a_valid_step() -> None:
    half = Encoded(np.ones((4, 3), dtype=np.float32), np.array([True, True, False, False]))
    late, early = np.array([UNLABELLED] * 3 + [2]), np.array([2] + [UNLABELLED] * 3)
    cases = prepared(
        example(),
        example(clip_label=UNLABELLED),
        example(clip_label=UNLABELLED, step_labels=early, encoded={"face": half}),
        example(clip_label=UNLABELLED, step_labels=late, encoded={"face": half}),
    )
    assert [case.usable for case in cases] == [True, False, True, False]


def test_clips_to_draw_are_chosen_by_what_they_are_and_never_by_score() -> None:
    cases = make_split("test", 5)
    chosen = shown_clips(cases, 5)
    kinds = [{planted.kind for planted in cases[index].planted} for index in chosen]
    assert kinds[:3] == [{"flash"}, {"transition"}, {"contradiction"}]
    assert not kinds[3]
    assert shown_clips(cases, 0) == []
    assert len(set(shown_clips(cases, 999))) == len(cases)
