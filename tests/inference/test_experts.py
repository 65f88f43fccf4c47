from __future__ import annotations

import numpy as np
import pytest

from components.contracts.labels import taxonomy
from components.contracts.pretrained import Pretrained
from components.inference.experts import Opinion, joined_clip, joined_steps, posterior

ABAW = taxonomy("abaw8")
SEVEN = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


def classifier(*labels: str | None, temperature: float = 1.0) -> Pretrained:
    return Pretrained(labels=labels, temperature=temperature, trained_on="something")


def opinion(*rows: list[float], valid: list[bool] | None = None) -> Opinion:
    return Opinion(step=np.array(rows), valid=np.array([True] * len(rows) if valid is None else valid))


def test_scores_go_to_the_class_of_their_label_whatever_the_order() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    rows = posterior(scores, classifier(*SEVEN), ABAW)
    assert rows.sum(-1) == pytest.approx(np.ones(5))
    assert [ABAW.classes[index] for index in rows[:, :7].argmax(-1)] == [SEVEN[index] for index in scores.argmax(-1)]
    # FER2013 has no `other`: it is neither favoured nor excluded.
    assert rows[:, ABAW.classes.index("other")] == pytest.approx(np.full(5, 1 / 8))


def test_labels_of_one_class_add_up_and_labels_of_none_are_left_out() -> None:
    four = taxonomy("iemocap4")
    scores = np.log([[0.1, 0.2, 0.3, 0.25, 0.15]])
    rows = posterior(scores, classifier("happiness", "excitement", "anger", "fear", None), four)
    # happiness and excitement are one class there, fear is in none; neutral and sadness have no label.
    assert dict(zip(four.classes, rows[0], strict=True)) == pytest.approx(
        {"neutral": 0.25, "happiness": 0.25, "sadness": 0.25, "anger": 0.25}
    )


def test_the_temperature_softens() -> None:
    scores = np.array([[4.0, 0, 0, 0, 0, 0, 0]])
    sharp, soft = (posterior(scores, classifier(*SEVEN, temperature=value), ABAW).max() for value in (1.0, 4.0))
    assert soft < sharp


def test_alone_the_classifier_decides_and_together_they_are_multiplied() -> None:
    seen = opinion([0.7, 0.2, 0.1], [0.5, 0.4, 0.1])
    assert joined_clip(None, {"face": seen}) == pytest.approx([0.6, 0.3, 0.1])
    own = np.array([0.2, 0.5, 0.3])
    product = own * [0.6, 0.3, 0.1]
    assert joined_clip(own, {"face": seen}) == pytest.approx(product / product.sum())
    assert joined_clip(own, {"face": opinion([1 / 3, 1 / 3, 1 / 3])}) == pytest.approx(own)


def test_steps_without_a_face_do_not_count_for_the_clip() -> None:
    assert opinion([1, 0, 0], [0.2, 0.3, 0.5], valid=[False, True]).clip == pytest.approx([0.2, 0.3, 0.5])


def test_each_step_has_the_opinions_that_are_valid_there() -> None:
    own = np.array([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8]], np.float32)
    seen = opinion([0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1], valid=[True, True, False, False])
    rows = joined_steps(own, np.array([True, False, True, False]), {"face": seen})
    both = own[0] * seen.step[0]
    assert rows[0] == pytest.approx(both / both.sum())
    # The version's own row of a step without its modalities carries no information.
    assert rows[1] == pytest.approx([0.7, 0.2, 0.1])
    assert rows[2:] == pytest.approx(own[2:])


@pytest.mark.parametrize(
    ("labels", "useful"),
    [(SEVEN, True), (("happiness", "excitement"), False), ((None, None, None), False), (("anger", None, "calm"), True)],
)
def test_what_cannot_tell_two_classes_apart_is_no_opinion(labels: tuple[str | None, ...], useful: bool) -> None:
    assert classifier(*labels).is_useful(ABAW) is useful


def test_it_is_written_and_read_as_it_was() -> None:
    own = classifier("anger", None, "calm", temperature=1.5)
    assert Pretrained.from_json(own.to_json()) == own
    with pytest.raises(ValueError, match="must be positive"):
        Pretrained.from_json({**own.to_json(), "temperature": 0})
