from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.model.build import build_model
from components.model.files import load_weights
from components.training.checkpoints.state import load_checkpoint, snapshot, write_checkpoint
from components.training.learner import Learner, Share, learning_rate
from components.training.loop import TrainingTask, new_learner, run_epochs
from components.training.samples.items import collate
from tests.model.toys import Toy, rated, toy_spec
from tests.training.workers import train_in_threads

ITEMS = Toy(clips=13).items()


def task(**train: object) -> TrainingTask:
    return TrainingTask(spec=toy_spec(), train=Train(epochs=2, batch_clips=5, **train), seed=1)


@pytest.mark.parametrize("world", [2, 4])
def test_any_number_of_workers_learns_the_same(world: int) -> None:
    # Four workers on a last batch of three clips: one of them has nothing to do.
    held_out = Toy(clips=5).items("calibration")
    (alone,), (expected,) = train_in_threads(task(), ITEMS, held_out, world=1)
    learners, histories = train_in_threads(task(), ITEMS, held_out, world=world)
    for history in histories:
        for one, other in zip(expected, history, strict=True):
            assert one == pytest.approx(other, rel=1e-4)
    for name, value in alone.ema.items():
        for learner in learners:
            assert torch.allclose(learner.ema[name], value, atol=1e-4), name
        assert torch.equal(learners[0].ema[name], learners[-1].ema[name])


@pytest.mark.parametrize("world", [1, 4])
def test_two_workers_checkpoint_is_gone_on_with_by_any_number(tmp_path: Path, world: int) -> None:
    held_out = Toy(clips=5).items("calibration")
    (alone,), (expected,) = train_in_threads(task(), ITEMS, held_out, world=1)
    (first, _), _ = train_in_threads(task(), ITEMS, held_out, world=2, epochs=1)
    write_checkpoint(tmp_path / "state", snapshot(first, inputs_sha256="x"))

    def start(learner: Learner) -> None:
        load_checkpoint(tmp_path / "state", learner, inputs_sha256="x")

    learners, histories = train_in_threads(task(), ITEMS, held_out, world=world, start=start)
    for record, other in zip(expected, histories[-1], strict=True):
        assert record == pytest.approx(other, rel=1e-4)
    for name, value in alone.ema.items():
        assert torch.allclose(learners[-1].ema[name], value, atol=1e-4), name


def test_workers_that_are_lost_and_come_back_learn_what_one_does(tmp_path: Path) -> None:
    """Four workers, two, four again, each time from the checkpoint of those before."""
    held_out, config = Toy(clips=5).items("calibration"), replace(task(), train=Train(epochs=3, batch_clips=5))
    (alone,), (expected,) = train_in_threads(config, ITEMS, held_out, world=1)

    def start(learner: Learner) -> None:
        if (tmp_path / "state").is_dir():
            load_checkpoint(tmp_path / "state", learner, inputs_sha256="x")

    for world in (4, 2, 4):
        learners, histories = train_in_threads(config, ITEMS, held_out, world=world, epochs=1, start=start)
        write_checkpoint(tmp_path / "state", snapshot(learners[-1], inputs_sha256="x"))
    assert learners[0].samples == 3 * len(ITEMS)
    for record, other in zip(expected, histories[-1], strict=True):
        assert record == pytest.approx(other, rel=1e-4)
    for name, value in alone.ema.items():
        assert torch.allclose(learners[-1].ema[name], value, atol=1e-4), name


JOINT = replace(toy_spec(), valence_arousal=True, embedding=5)


def joint_task(**train: object) -> TrainingTask:
    wanted = {"contrastive_loss": 0.5, "contrastive_text": "learned", "epochs": 2, "batch_clips": 5, **train}
    return TrainingTask(spec=JOINT, train=Train(**wanted), seed=1)


@pytest.mark.parametrize("world", [2, 4])
def test_joint_parts_learn_the_same_with_any_number_of_workers(world: int) -> None:
    training, held_out = rated(ITEMS), rated(Toy(clips=5).items("calibration"))
    (alone,), (expected,) = train_in_threads(joint_task(), training, held_out, world=1)
    learners, histories = train_in_threads(joint_task(), training, held_out, world=world)
    assert expected[0]["valence_arousal"] > 0
    assert expected[0]["contrastive"] > 0
    assert {"held_out_valence_ccc", "held_out_arousal_ccc"} <= expected[0].keys()
    for history in histories:
        for one, other in zip(expected, history, strict=True):
            assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    assert {"loss.texts", "loss.log_scale"} <= alone.parameters.keys()
    for name, value in alone.parameters.items():
        for learner in learners:
            assert torch.allclose(learner.parameters[name], value, atol=1e-4), name
        assert torch.equal(learners[0].parameters[name], learners[-1].parameters[name])


def gradients(config: TrainingTask, *, world: int = 1, parts: int = 1) -> dict[str, torch.Tensor]:
    """Those of one step on five clips, without Adam, which would hide a gradient that is counted twice."""
    items = rated(ITEMS)[:5]
    learners = [new_learner(config, items) for _ in range(world)]
    barrier, given, drawing = threading.Barrier(world), [torch.empty(0)] * world, threading.Lock()

    def work(rank: int) -> None:
        def add(tensor: torch.Tensor) -> None:
            if drawing.locked():
                drawing.release()
            given[rank] = tensor.clone()
            barrier.wait()
            total = torch.stack(given).sum(0)
            barrier.wait()
            tensor.copy_(total)

        share = Share(rank=rank, world=world, sum_over_workers=add)
        mine = [collate(items[place.rank :: place.world]) for place in share.parts(parts)]
        drawing.acquire()  # threads share torch's random state: until its first sum one draws alone
        learners[rank].step(*mine, step=0, samples=5, share=share)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: value.grad.clone() for name, value in learners[0].parameters.items()}


def test_the_gradient_of_joint_parts_is_that_of_the_whole_batch_on_two_workers_and_in_three_parts() -> None:
    config = joint_task(gradient_clip=1e9)
    whole, workers, parts = gradients(config), gradients(config, world=2), gradients(config, parts=3)
    assert float(whole["loss.texts"].abs().max()) > 1e-3
    assert float(whole["affect.clip.weight"].abs().max()) > 1e-3
    assert float(whole["embedding.project.weight"].abs().max()) > 1e-3
    for name, gradient in whole.items():
        assert torch.allclose(workers[name], gradient, atol=1e-6), name
        assert torch.allclose(parts[name], gradient, atol=1e-6), name


def test_a_training_in_parts_learns_what_one_of_whole_batches_does() -> None:
    """Without dropout, which each part draws for its own clips."""
    training, held_out = rated(ITEMS), rated(Toy(clips=5).items("calibration"))
    learned = []
    for parts in (1, 3):
        learner = new_learner(joint_task(), training)
        list(run_epochs(learner, joint_task(), training, held_out, parts=parts))
        learned.append(learner)
    whole, other = learned
    assert len(whole.history) > 1
    for one, record in zip(whole.history, other.history, strict=True):
        assert record == pytest.approx(one, rel=1e-4, abs=1e-6)
    for name, value in whole.parameters.items():
        assert torch.allclose(other.parameters[name], value, atol=1e-4), name


def test_a_batch_in_parts_draws_what_as_many_workers_draw() -> None:
    noisy = replace(JOINT, model=JOINT.model.model_copy(update={"dropout": 0.4}))
    config = replace(joint_task(gradient_clip=1e9), spec=noisy)
    whole, workers, parts = gradients(config), gradients(config, world=2), gradients(config, parts=2)
    assert not torch.allclose(parts["affect.clip.weight"], whole["affect.clip.weight"])
    for name, gradient in workers.items():
        assert torch.allclose(parts[name], gradient, atol=1e-6), name


def test_what_the_loss_learns_is_no_part_of_the_model() -> None:
    learner = new_learner(joint_task(), rated(ITEMS))
    assert learner.averaged().keys() == dict(learner.model.named_parameters()).keys()
    load_weights(build_model(JOINT), learner.averaged(), where="test")


def test_bf16_is_used_where_it_is_asked_for() -> None:
    losses = {}
    for precision in ("auto", "fp32", "bf16"):
        learner = new_learner(task(precision=precision), ITEMS)
        losses[precision] = learner.step(collate(ITEMS[:5]), step=0, samples=5, share=Share())["loss"]
        assert all(value.dtype == torch.float32 for value in learner.parameters.values())
    assert losses["auto"] == losses["fp32"]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


@pytest.mark.parametrize("fusion", ["bidirectional", "concatenation", "product"])
def test_a_batch_without_a_modality_has_finite_losses_and_gradients(fusion: str) -> None:
    spec = replace(JOINT, model=toy_spec(fusion=fusion).model)
    config = replace(joint_task(), spec=spec)
    items = [replace(item, masks={**item.masks, "face": np.zeros_like(item.masks["face"])}) for item in rated(ITEMS)]
    learner = new_learner(config, items)
    losses = learner.step(collate(items[:5]), step=0, samples=5, share=Share())
    assert all(np.isfinite(value) for value in losses.values())
    assert learner.gradient.isfinite().all()


def test_nan_at_invalid_steps_never_reaches_the_loss() -> None:
    items = rated(ITEMS)
    poisoned = [
        replace(
            item,
            features={
                name: np.where(item.masks[name][:, None], values, np.float32("nan"))
                for name, values in item.features.items()
            },
        )
        for item in items
    ]
    found = []
    for given in (items, poisoned):
        learner = new_learner(joint_task(), given)
        found.append((learner.step(collate(given[:5]), step=0, samples=5, share=Share()), learner.gradient.clone()))
    (losses, gradient), (others, other) = found
    assert losses == others
    assert torch.equal(gradient, other)


def test_the_gradient_is_that_of_the_plain_loss() -> None:
    learner = new_learner(task(gradient_clip=1e9), ITEMS)
    batch = collate(ITEMS[:5])
    output = learner.model(batch.features, batch.masks)
    inputs = learner.objective.inputs(output, batch.masks, batch.step_labels, batch.clip_labels)
    parts = learner.objective.parts(inputs)
    scale = learner.objective.scale
    loss = sum(scale[name] * part.total / part.weight for name, part in parts.items())
    expected = torch.autograd.grad(loss, list(learner.parameters.values()), allow_unused=True)
    reported = learner.step(batch, step=0, samples=5, share=Share())
    assert reported["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    for wanted, parameter in zip(expected, learner.parameters.values(), strict=True):
        assert torch.allclose(parameter.grad, torch.zeros(()) if wanted is None else wanted, atol=1e-6)


def test_the_gradient_is_clipped() -> None:
    learner = new_learner(task(gradient_clip=0.01), ITEMS)
    learner.step(collate(ITEMS[:5]), step=0, samples=5, share=Share())
    assert float(torch.linalg.vector_norm(learner.gradient)) == pytest.approx(0.01, rel=1e-3)


def test_infinite_features_stop_the_training_by_name() -> None:
    learner = new_learner(task(), ITEMS)
    values = ITEMS[0].features["face"].copy()
    values[:] = np.inf
    mask = {name: np.ones_like(value) for name, value in ITEMS[0].masks.items()}
    broken = replace(ITEMS[0], features={**ITEMS[0].features, "face": values}, masks=mask)
    with pytest.raises(ModelError, match="training step 4: the gradient is not finite"):
        learner.step(collate([broken]), step=4, samples=1, share=Share())


def test_the_rate_warms_up_and_falls() -> None:
    config = Train(learning_rate=0.1, warmup_fraction=0.2)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:20] == pytest.approx([0.1 * (step + 1) / 20 for step in range(20)])
    assert all(one >= other for one, other in pairwise(rates[19:]))
    assert rates[-1] == pytest.approx(0.1 * config.final_rate, rel=0.1)


def test_the_average_follows_the_weights() -> None:
    learner = new_learner(task(ema_decay=0.0), ITEMS)
    learner.step(collate(ITEMS[:5]), step=0, samples=5, share=Share())
    assert all(torch.equal(learner.ema[name], value) for name, value in learner.parameters.items())
