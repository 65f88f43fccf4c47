from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from components.contracts.labels import UNLABELLED
from components.model.contrastive import LARGEST_LOG_SCALE, ContrastiveLoss, text_guided_loss

WIDTH = 6


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def one_hot(labels: list[int], classes: int) -> torch.Tensor:
    return torch.stack(
        [
            torch.eye(classes, dtype=torch.float64)[label] if label >= 0 else torch.zeros(classes).double()
            for label in labels
        ]
    )


def reference(embedding: torch.Tensor, labels: list[int], text: torch.Tensor, scale: float) -> float:
    """The definition, one pair at a time."""
    score = [[scale * float(clip @ words) for words in text] for clip in embedding]
    known = [row for row, label in enumerate(labels) if label >= 0]
    to_text = [-math.log(math.exp(score[row][labels[row]]) / sum(math.exp(one) for one in score[row])) for row in known]
    to_clips = []
    for label in sorted({labels[row] for row in known}):
        others = sum(math.exp(score[row][label]) for row in known if labels[row] != label)
        mine = [math.exp(score[row][label]) for row in known if labels[row] == label]
        to_clips.append(sum(-math.log(one / (one + others)) for one in mine) / len(mine))
    return (sum(to_text) / len(to_text) + sum(to_clips) / len(to_clips)) / 2


def test_it_is_its_definition() -> None:
    labels = [0, 2, 0, UNLABELLED, 1, 0, 2]
    embedding, text = unit(7, WIDTH), unit(4, WIDTH, seed=1)
    found = text_guided_loss(embedding, one_hot(labels, 4), text, torch.tensor(5.0))
    assert float(found) == pytest.approx(reference(embedding, labels, text, 5.0), rel=1e-9)


def test_a_clip_of_the_same_class_is_no_negative() -> None:
    """Where clips of one class lie does not touch the others of it; in a pairwise loss each pushes the rest away."""
    text = torch.eye(WIDTH, dtype=torch.float64)[:2]
    target = one_hot([0, 0, 1], 2)
    near, far = unit(3, WIDTH), unit(3, WIDTH)
    # The second clip stands the same to the text of the other class.
    near[1], far[1] = text[0], -text[0]

    def pull(embedding: torch.Tensor) -> torch.Tensor:
        embedding = embedding.clone().requires_grad_(True)
        text_guided_loss(embedding, target, text, torch.tensor(5.0)).backward()
        assert embedding.grad is not None
        return embedding.grad

    assert torch.allclose(pull(near)[0], pull(far)[0])
    # Each clip of a class is pulled to its text, however near it is already.
    perfect = torch.stack([text[0], text[0], text[1]])
    assert (pull(perfect)[0] @ text[0]) < 0


def test_one_class_alone_and_no_labelled_clip_are_finite() -> None:
    embedding, text = unit(3, WIDTH).requires_grad_(True), unit(1, WIDTH, seed=1)
    for labels in ([0, 0, 0], [UNLABELLED] * 3):
        value = text_guided_loss(embedding, one_hot(labels, 1), text, torch.tensor(100.0))
        (gradient,) = torch.autograd.grad(value, embedding)
        assert float(value.detach()) == 0
        assert gradient.isfinite().all()


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_workers_rows_make_the_batch(world: int) -> None:
    labels = torch.tensor([0, 3, 0, UNLABELLED, 1])
    embedding, text = unit(5, WIDTH).float(), unit(4, WIDTH, seed=1).float()
    loss = ContrastiveLoss(present=[True, True, False, True], rows=8, width=WIDTH, texts=text)
    total = torch.zeros(loss.size, dtype=torch.float64)
    for rank in range(world):
        total += loss.sums(embedding[rank::world], labels[rank::world], rank=rank, world=world)
    expected = text_guided_loss(
        embedding.double(),
        one_hot([0, 2, 0, UNLABELLED, 1], 3),
        functional.normalize(text[[0, 1, 3]].double(), dim=-1),
        loss.log_scale.double().exp(),
    )
    assert torch.allclose(loss.value(total), expected)


def test_prompts_are_given_and_free_vectors_learned() -> None:
    present = [True, False, True]
    given = ContrastiveLoss(present=present, rows=2, width=WIDTH, texts=unit(3, WIDTH).float())
    free = ContrastiveLoss(present=present, rows=2, width=WIDTH, texts=None, seed=4)
    again = ContrastiveLoss(present=present, rows=2, width=WIDTH, texts=None, seed=4)
    assert [name for name, _ in given.named_parameters()] == ["log_scale"]
    assert sorted(name for name, _ in free.named_parameters()) == ["log_scale", "texts"]
    assert torch.equal(free.texts, again.texts)
    assert torch.equal(given.texts, unit(3, WIDTH).float()[[0, 2]])


def test_the_temperature_is_bounded() -> None:
    loss = ContrastiveLoss(present=[True, True], rows=2, width=WIDTH, texts=unit(2, WIDTH).float())
    sums = loss.sums(unit(2, WIDTH, seed=3).float(), torch.tensor([0, 1]), rank=0, world=1)
    with torch.no_grad():
        loss.log_scale.fill_(LARGEST_LOG_SCALE)
        bounded = loss.value(sums)
        loss.log_scale.fill_(50.0)
    assert torch.equal(loss.value(sums), bounded)
