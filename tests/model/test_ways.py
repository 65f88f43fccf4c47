"""A clip read in two ways: what is learned over time, and the statistics of its features."""

from __future__ import annotations

import pytest
import torch

from components.contracts.config import Train
from components.model.base import ModelOutput
from components.model.build import build_model
from components.model.losses import LossPart
from components.model.streaming import StreamingModel
from components.training.learner import Learner, Share
from components.training.loop import TrainingTask, new_learner, run_epochs
from components.training.samples.items import Batch, collate
from tests.model.toys import Toy, toy_spec
from tests.training.workers import train_in_threads

ITEMS = Toy(clips=13).items()


def task(clip_head: str, **train: object) -> TrainingTask:
    return TrainingTask(spec=toy_spec(clip_head=clip_head), train=Train(epochs=2, batch_clips=5, **train), seed=1)


@pytest.mark.parametrize(("clip_head", "ways"), [("temporal", []), ("statistics", ["statistics"]), ("all", None)])
def test_each_way_has_its_scores_and_the_clip_is_the_mean_of_their_log_probabilities(
    clip_head: str, ways: list[str] | None
) -> None:
    torch.manual_seed(0)
    model = build_model(toy_spec(clip_head=clip_head)).eval()
    batch = collate(ITEMS)
    output = model(batch.features, batch.masks)
    assert sorted(output.clip_ways) == (["statistics", "temporal"] if ways is None else ways)
    if output.clip_ways:
        mean = torch.stack([scores.log_softmax(-1) for scores in output.clip_ways.values()]).mean(0)
        assert torch.allclose(output.clip_logits, mean)


def clip_part(learner: Learner, output: ModelOutput, batch: Batch) -> LossPart:
    inputs = learner.objective.inputs(output, batch.masks, batch.step_labels, batch.clip_labels)
    return learner.objective.parts(inputs)["clip"]


def test_each_way_learns_by_itself() -> None:
    learner = new_learner(task("all", step_loss=0.0, unimodal_loss=0.0), ITEMS)
    batch = collate(ITEMS)
    output = learner.model(batch.features, batch.masks)
    part = clip_part(learner, output, batch)
    alone = {
        name: clip_part(learner, output._replace(clip_ways={}, mixed_targets={}, clip_logits=scores), batch)
        for name, scores in output.clip_ways.items()
    }
    assert torch.allclose(part.total, alone["statistics"].total + alone["temporal"].total)
    assert float(part.weight) == pytest.approx(2 * float(alone["temporal"].weight))


def test_a_way_that_varies_its_clips_learns_from_those() -> None:
    spec = toy_spec(clip_head="statistics", statistics_noise=0.3, statistics_mixup=0.4)
    learner = new_learner(
        TrainingTask(spec=spec, train=Train(step_loss=0.0, unimodal_loss=0.0, label_smoothing=0.0), seed=1), ITEMS
    )
    batch = collate(ITEMS)
    output = learner.model.train()(batch.features, batch.masks)
    part = clip_part(learner, output, batch)
    mixed = output.mixed_targets["statistics"]
    shift = torch.tensor(learner.objective.targets.clip_balance.shift)
    log_p = (mixed.scores + shift).log_softmax(-1).gather(-1, batch.clip_labels[mixed.item].unsqueeze(-1))[:, 0]
    assert torch.allclose(part.total, -(mixed.weight * log_p).sum())
    assert float(part.weight) == pytest.approx(len(ITEMS))
    assert not learner.model.eval()(batch.features, batch.masks).mixed_targets


@pytest.mark.parametrize("world", [2, 4])
def test_any_number_of_workers_learns_the_same(world: int) -> None:
    held_out = Toy(clips=5).items("calibration")
    (alone,), _ = train_in_threads(task("all"), ITEMS, held_out, world=1)
    learners, _ = train_in_threads(task("all"), ITEMS, held_out, world=world)
    for name, value in alone.ema.items():
        assert torch.allclose(learners[-1].ema[name], value, atol=1e-4), name


def test_what_standardises_is_set_from_the_training_clips_and_never_learned() -> None:
    learner = new_learner(task("all"), ITEMS)
    names = [name for name in learner.ema if name.endswith((".centre", ".spread"))]
    assert len(names) == 2 * len(learner.spec.modalities)
    before = {name: learner.ema[name].clone() for name in names}
    assert all(before[name].any() for name in names)
    for step in range(3):
        learner.step(collate(ITEMS[:5]), step=step, samples=5 * (step + 1), share=Share())
    assert all(torch.equal(learner.averaged()[name], before[name]) for name in names)


def test_without_order_to_learn_statistics_are_enough_and_with_it_they_are_not() -> None:
    # Two bits are in the means of face and voice; the third is the order of a motif whose steps are the same.
    def accuracy(bits: int) -> float:
        toy = Toy(clips=64, noise=0.7, missing=0.0, bits=bits)
        spec = toy_spec(clip_head="statistics", modality_dropout=0.0)
        job = TrainingTask(spec=spec, train=Train(epochs=25, learning_rate=3e-3), seed=1)
        training = toy.items()
        return list(run_epochs(new_learner(job, training), job, training, toy.items("calibration")))[-1][
            "held_out_clip_accuracy"
        ]

    assert accuracy(2) > 0.9
    assert accuracy(3) < 0.7


@pytest.mark.parametrize("clip_head", ["statistics", "all"])
def test_step_by_step_the_clip_is_that_of_every_prefix(clip_head: str) -> None:
    torch.manual_seed(0)
    model = build_model(toy_spec(clip_head=clip_head, causal=True)).eval()
    stream = StreamingModel(model)
    batch = collate(ITEMS[:3])
    state = stream.start(3)
    with torch.inference_mode():
        for step in range(batch.step_labels.shape[1]):
            present = {name: mask[:, step] for name, mask in batch.masks.items()}
            output, state = stream.step({name: x[:, step] for name, x in batch.features.items()}, present, state)
            whole = model(
                {name: x[:, : step + 1] for name, x in batch.features.items()},
                {name: mask[:, : step + 1] for name, mask in batch.masks.items()},
            )
            assert torch.allclose(output.clip_logits, whole.clip_logits, atol=1e-5)
    again = stream.from_tensors(state.to_tensors())
    assert all(
        torch.equal(mine, theirs)
        for name in state.statistics
        for mine, theirs in zip(state.statistics[name], again.statistics[name], strict=True)
    )
