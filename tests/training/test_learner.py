from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.training.items import collate
from components.training.learner import LAST_RATE, Share, learning_rate
from components.training.loop import Task, new_learner
from tests.model.toys import Toy, toy_spec
from tests.training.workers import train_in_threads

ITEMS = Toy(clips=13).items()


def task(**train: object) -> Task:
    return Task(spec=toy_spec(), train=Train(epochs=2, batch_clips=5, **train), seed=1)


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


def test_the_gradient_is_that_of_the_plain_loss() -> None:
    learner = new_learner(task(gradient_clip=1e9), ITEMS)
    batch = collate(ITEMS[:5])
    output = learner.model(batch.features, batch.masks)
    parts = learner.objective.parts(output, batch.masks, batch.step_labels, batch.clip_labels)
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
    assert rates[-1] == pytest.approx(0.1 * LAST_RATE, rel=0.1)


def test_the_average_follows_the_weights() -> None:
    learner = new_learner(task(ema_decay=0.0), ITEMS)
    learner.step(collate(ITEMS[:5]), step=0, samples=5, share=Share())
    assert all(torch.equal(learner.ema[name], value) for name, value in learner.parameters.items())
