from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.training.items import collate
from components.training.learner import LAST_RATE, Learner, Share, learning_rate
from components.training.loop import Task, new_learner, train_steps
from tests.model.toys import Toy, toy_spec

ITEMS = Toy(clips=13).items()


def task(**train: object) -> Task:
    return Task(spec=toy_spec(), train=Train(epochs=2, batch_clips=5, **train), seed=1)


def together(world: int) -> tuple[list[Learner], list[list[dict[str, float]]]]:
    """Real learners in threads that add their tensors up as processes do."""
    barrier = threading.Barrier(world)
    given: list[torch.Tensor] = [torch.empty(0)] * world

    def share(rank: int) -> Share:
        def sum_over_workers(tensor: torch.Tensor) -> None:
            given[rank] = tensor.clone()
            barrier.wait()
            total = torch.stack(given).sum(0)
            barrier.wait()
            tensor.copy_(total)

        return Share(rank=rank, world=world, sum_over_workers=sum_over_workers)

    learners = [new_learner(task(), ITEMS) for _ in range(world)]
    losses: list[list[dict[str, float]]] = [[] for _ in range(world)]

    def work(rank: int) -> None:
        losses[rank] = [loss for _, loss in train_steps(learners[rank], task(), ITEMS, share=share(rank))]

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return learners, losses


@pytest.mark.parametrize("world", [2, 4])
def test_any_number_of_workers_learns_the_same(world: int) -> None:
    # Four workers on a last batch of three clips: one of them has nothing to do.
    alone, alone_losses = together(1)
    learners, losses = together(world)
    for mine in losses:
        for one, other in zip(alone_losses[0], mine, strict=True):
            assert one == pytest.approx(other, rel=1e-4)
    for name, value in alone[0].ema.items():
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
