from __future__ import annotations

import math
from dataclasses import replace

import pytest

from components.catalog.cases import Case
from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.model.spec import ModelSpec
from components.training.loop import TrainingTask, new_learner, run_epochs
from tests.model.toys import CLASSES, WIDTHS, Toy, rated, toy_spec


def last_record(toy: Toy, *, epochs: int = 25, **model: object) -> dict[str, float]:
    task = TrainingTask(
        spec=toy_spec(dropout=0.1, modality_dropout=0.0, **model),
        train=Train(epochs=epochs, batch_clips=16, learning_rate=3e-3),
        seed=1,
    )
    training, held_out = toy.items(), toy.items("calibration")
    return list(run_epochs(new_learner(task, training), task, training, held_out))[-1]


EASY = Toy(clips=64, noise=0.7, missing=0.0)


def test_it_learns_what_no_modality_alone_tells() -> None:
    # Each modality tells one of three bits, so alone it cannot pass 1/4; two together cannot pass 1/2.
    assert last_record(EASY)["held_out_clip_accuracy"] > 0.85


def test_a_product_of_what_each_modality_tells_learns_it_too() -> None:
    assert last_record(EASY, fusion="product")["held_out_clip_accuracy"] > 0.85


@pytest.mark.parametrize(("blocks", "learns"), [(3, True), (0, False)])
def test_order_in_time_is_learned_by_the_temporal_part(blocks: int, learns: bool) -> None:
    # Bits 0 and 1 need no order; the third bit is A→B against B→A, equal in every statistic but order. Without
    # temporal convolution and attention a clip is a set of steps.
    accuracy = last_record(EASY, tcn_blocks=blocks, fusion="concatenation")["held_out_clip_accuracy"]
    assert (accuracy > 0.85) if learns else (accuracy < 0.7)


def test_losses_fall_and_records_hold_no_durations() -> None:
    task = TrainingTask(spec=toy_spec(), train=Train(epochs=6, batch_clips=16, learning_rate=3e-3), seed=1)
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
        new_learner(TrainingTask(spec=spec, train=Train(), seed=0), Toy(clips=8).items())


JOINT = replace(toy_spec(), valence_arousal=True, embedding=6)
EVERYTHING = Train(epochs=2, batch_clips=4, contrastive_loss=0.5, contrastive_text="learned")


def records(spec: ModelSpec, training: list[Case], held_out: list[Case]) -> list[dict[str, float]]:
    task = TrainingTask(spec=spec, train=EVERYTHING, seed=0)
    found = list(run_epochs(new_learner(task, training), task, training, held_out))
    assert all(math.isfinite(value) for record in found for value in record.values())
    return found


@pytest.mark.parametrize(
    "toy",
    [Toy(clips=9, subjects=1), Toy(clips=9, steps=(1, 1), missing=0.0), Toy(clips=9, missing=0.6)],
    ids=["one person", "one step", "hardly anything there"],
)
def test_odd_corpora_train_with_every_part_of_the_loss(toy: Toy) -> None:
    last = records(JOINT, rated(toy.items()), rated(toy.items("calibration")))[-1]
    assert {"valence_arousal", "contrastive", "held_out_valence_ccc"} <= last.keys()


def test_a_class_that_training_lacks_does_not_disturb_the_others() -> None:
    spec = replace(JOINT, absent=("class3",))
    training = [item for item in rated(EASY.items())[:24] if item.clip_label != 3]
    assert records(spec, training, rated(EASY.items("calibration"))[:16])[-1]["contrastive"] > 0


def test_a_corpus_without_ratings_costs_nothing_though_the_head_is_there() -> None:
    toy = Toy(clips=9)
    last = records(JOINT, toy.items(), toy.items("calibration"))[-1]
    assert last["valence_arousal"] == 0
    assert "held_out_valence_ccc" not in last


def test_prompts_of_the_text_encoder_teach_as_well() -> None:
    train = Train(epochs=4, learning_rate=3e-3, contrastive_loss=1.0)
    emotions = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "calm")
    task = TrainingTask(spec=replace(toy_spec(), classes=emotions, embedding=384), train=train, seed=1)
    training = EASY.items()[:32]
    history = list(run_epochs(new_learner(task, training), task, training, []))
    assert history[-1]["contrastive"] < 0.9 * history[0]["contrastive"]
