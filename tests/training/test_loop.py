from __future__ import annotations

import pytest

from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.model.spec import ModelSpec
from components.training.loop import Task, new_learner, run_epochs
from tests.model.toys import CLASSES, WIDTHS, Toy, toy_spec


def last_record(toy: Toy, *, epochs: int = 25, **model: object) -> dict[str, float]:
    task = Task(
        spec=toy_spec(dropout=0.1, modality_dropout=0.0, **model),
        train=Train(epochs=epochs, learning_rate=3e-3),
        seed=1,
    )
    training, held_out = toy.items(), toy.items("calibration")
    return list(run_epochs(new_learner(task, training), task, training, held_out))[-1]


EASY = Toy(clips=64, noise=0.7, missing=0.0)


def test_it_learns_what_no_modality_alone_tells() -> None:
    # Each modality tells one of three bits, so alone it cannot pass 1/4; two together cannot pass 1/2.
    assert last_record(EASY)["held_out_clip_accuracy"] > 0.85


@pytest.mark.parametrize(("blocks", "learns"), [(3, True), (0, False)])
def test_order_in_time_is_learned_by_the_temporal_part(blocks: int, learns: bool) -> None:
    # Bits 0 and 1 need no order; the third bit is A→B against B→A, equal in every statistic but order. Without
    # temporal convolution and attention a clip is a set of steps.
    accuracy = last_record(EASY, tcn_blocks=blocks, fusion="concatenation")["held_out_clip_accuracy"]
    assert (accuracy > 0.85) if learns else (accuracy < 0.7)


def test_losses_fall_and_records_hold_no_durations() -> None:
    task = Task(spec=toy_spec(), train=Train(epochs=6, learning_rate=3e-3), seed=1)
    training = EASY.items()
    history = list(run_epochs(new_learner(task, training), task, training, EASY.items("calibration")))
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert set(history[0]) == {
        "epoch",
        "learning_rate",
        "loss",
        "step",
        "clip",
        "unimodal_step",
        "unimodal_clip",
        "held_out_clip_macro_f1",
        "held_out_clip_accuracy",
        "held_out_step_macro_f1",
    }


def test_a_class_declared_absent_must_be_absent() -> None:
    spec = ModelSpec(modalities=WIDTHS, classes=CLASSES, model=toy_spec().model, absent=("class3",))
    with pytest.raises(ModelError, match="declared absent has training clips; seen 'class3'"):
        new_learner(Task(spec=spec, train=Train(), seed=0), Toy(clips=8).items())
