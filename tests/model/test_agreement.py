from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from components.model.agreement import SUMS, AffectLoss, concordance, moment_sums

NAN = float("nan")


def pair(seed: int = 0, items: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(items, generator=generator, dtype=torch.float64) * 2 - 1
    return truth, 0.5 * truth + 0.2 * torch.randn(items, generator=generator, dtype=torch.float64) + 0.3


def test_it_is_lins_coefficient() -> None:
    truth, predicted = pair()
    x, y = truth.numpy(), predicted.numpy()
    correlation = np.corrcoef(x, y)[0, 1]
    # Lin 1989: the correlation times the bias correction C_b.
    shift = (x.mean() - y.mean()) / math.sqrt(x.std() * y.std())
    scale = x.std() / y.std()
    expected = correlation * 2 / (scale + 1 / scale + shift**2)
    assert float(concordance(moment_sums(truth, predicted))) == pytest.approx(expected, rel=1e-9)


def test_it_is_one_for_equality_alone_and_sees_scale_and_offset() -> None:
    truth, _ = pair()
    assert float(concordance(moment_sums(truth, truth))) == pytest.approx(1)
    assert float(concordance(moment_sums(truth, -truth))) < -0.9
    for other in (truth / 2, truth + 0.5):
        assert float(concordance(moment_sums(truth, other))) < 0.9


def test_what_is_not_rated_does_not_count_and_nothing_varies_gives_zero() -> None:
    truth, predicted = pair()
    some = truth.clone()
    some[::2] = NAN
    assert torch.equal(moment_sums(some, predicted), moment_sums(truth[1::2], predicted[1::2]))
    for x, y in ((truth, torch.zeros_like(truth)), (truth[:1], predicted[:1]), (truth[:0], predicted[:0])):
        assert float(concordance(moment_sums(x, y))) == pytest.approx(0, abs=1e-6)


def batch(clips: int = 5, steps: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    truth = torch.rand(clips, 2, generator=generator) * 2 - 1
    mask = torch.rand(clips, steps, generator=generator) > 0.3
    return (
        torch.randn(clips, 2, generator=generator).tanh(),
        torch.randn(clips, steps, 2, generator=generator),
        truth,
        mask,
    )


def test_steps_are_held_against_the_clip_by_their_mean() -> None:
    _, steps, truth, mask = batch()
    means = torch.stack([steps[row][mask[row]].mean(0) for row in range(len(steps))])
    loss = AffectLoss()
    # Equal numbers from both heads: the loss is that of either.
    both = loss.value(loss.sums(means, steps, truth, mask))
    ccc = [concordance(moment_sums(truth[:, column], means[:, column])) for column in range(2)]
    assert float(both) == pytest.approx(1 - float(sum(ccc)) / 2, rel=1e-5)
    poisoned = torch.where(mask.unsqueeze(-1), steps, torch.tensor(NAN))
    assert torch.allclose(loss.value(loss.sums(means, poisoned, truth, mask)), both)


def test_clips_without_a_rating_or_a_valid_step_count_for_nothing() -> None:
    clips, steps, truth, mask = batch()
    loss = AffectLoss()
    expected = loss.sums(clips[2:], steps[2:], truth[2:], mask[2:])
    truth[0], mask[1] = NAN, False
    assert torch.allclose(loss.sums(clips, steps, truth, mask), expected)


def test_workers_sums_give_the_loss_and_the_gradient_of_the_batch() -> None:
    clips, steps, truth, mask = batch()
    clips.requires_grad_(True)
    steps.requires_grad_(True)
    loss = AffectLoss()
    (whole,) = (loss.value(loss.sums(clips, steps, truth, mask)),)
    expected = torch.autograd.grad(whole, [clips, steps])
    shares = [loss.sums(clips[part], steps[part], truth[part], mask[part]) for part in (slice(0, 2), slice(2, 5))]
    total = sum(shares).detach().requires_grad_(True)
    value = loss.value(total)
    (of_sums,) = torch.autograd.grad(value, total)
    found = torch.autograd.grad([share @ of_sums for share in shares], [clips, steps])
    assert torch.allclose(value, whole)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-7)


@pytest.mark.parametrize("rated", [0, 1])
def test_fewer_than_two_rated_clips_cost_nothing(rated: int) -> None:
    clips, steps, truth, mask = batch()
    truth[rated:] = NAN
    clips.requires_grad_(True)
    loss = AffectLoss()
    value = loss.value(loss.sums(clips, steps, truth, mask))
    (gradient,) = torch.autograd.grad(value, clips)
    assert float(value.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_one_rating_alone_is_learned_alone() -> None:
    clips, steps, truth, mask = batch()
    truth[:, 1] = NAN
    loss = AffectLoss()
    sums = loss.sums(clips, steps, truth, mask).view(-1, SUMS)
    assert float(loss.value(sums.flatten())) == pytest.approx(float(1 - concordance(sums[[0, 2]]).mean()), rel=1e-6)
