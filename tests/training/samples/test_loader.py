from __future__ import annotations

import threading

import pytest
import torch

from components.contracts.config import Train
from components.contracts.errors import DataError
from components.training.learner import Learner, Share
from components.training.loop import TrainingTask, new_learner, run_epochs
from components.training.samples.items import collate
from components.training.samples.loader import Loader, made_ahead
from tests.model.toys import Toy, toy_spec

ITEMS = Toy(clips=7).items()
TASK = TrainingTask(
    spec=toy_spec(dropout=0.3, modality_dropout=0.4),
    train=Train(epochs=2, batch_clips=3, max_steps_per_clip=15, feature_noise=0.1),
    seed=5,
)


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_the_order_is_that_of_the_places_and_no_more_is_made_ahead_than_allowed(ahead: int) -> None:
    made: list[int] = []

    def make(place: int) -> int:
        made.append(place)
        return 10 * place

    taken = []
    for place, value in made_ahead(make, range(7), ahead=ahead):
        taken.append((place, value))
        assert len(made) <= len(taken) + ahead
    assert taken == [(place, 10 * place) for place in range(7)]
    assert made == list(range(7))


@pytest.mark.parametrize("ahead", [0, 3])
def test_an_error_is_raised_at_its_own_place(ahead: int) -> None:
    def make(place: int) -> int:
        if place == 2:
            raise DataError("a shard is gone", where="shard-2")
        return place

    batches = made_ahead(make, range(5), ahead=ahead)
    assert [next(batches) for _ in range(2)] == [(0, 0), (1, 1)]
    with pytest.raises(DataError, match="shard-2: a shard is gone"):
        next(batches)


def test_nothing_is_made_after_the_end() -> None:
    made: list[int] = []
    batches = made_ahead(made.append, iter(range(1000)), ahead=2)
    next(batches)
    batches.close()
    before = len(made)
    assert before <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_weights_and_history_have_the_bits_of_batches_made_in_time() -> None:
    def trained(ahead: int) -> Learner:
        learner = new_learner(TASK, ITEMS)
        list(run_epochs(learner, TASK, ITEMS, ITEMS[:2], ahead=ahead))
        return learner

    expected, learner = trained(0), trained(2)
    assert learner.history == expected.history
    for name, value in expected.averaged().items():
        assert torch.equal(learner.averaged()[name], value), name


def test_a_worker_without_a_clip_of_the_batch_has_no_part() -> None:
    batch = next(TASK.order(ITEMS).batches())

    def clips(rank: int, world: int, parts: int) -> list[int | None]:
        share, device = Share(rank=rank, world=world), torch.device("cpu")
        loader = Loader(training=ITEMS, augment=TASK.augment, share=share, device=device, parts=parts)
        return [None if part is None else len(part.clip_labels) for part in loader(batch)]

    assert [clips(rank, 4, 1) for rank in range(4)] == [[1], [1], [1], [None]]
    assert [clips(rank, 2, 2) for rank in range(2)] == [[1, 1], [1, None]]
    assert clips(0, 1, 2) == [2, 1]


@pytest.mark.gpu
def test_a_pinned_batch_is_the_same_and_in_page_locked_memory() -> None:
    batch = collate(ITEMS)
    pinned = batch.pinned()
    assert pinned.clip_labels.is_pinned()
    assert all(values.is_pinned() for values in pinned.features.values())
    assert torch.equal(pinned.to(torch.device("cuda")).step_labels.cpu(), batch.step_labels)
