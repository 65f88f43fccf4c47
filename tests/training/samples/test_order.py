from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts.errors import ModelError
from components.training.samples.order import Alike, Order, derived_seed, shard

ORDER = Order(clips=23, batch_clips=5, epochs=3, seed=7)
CLIPS, BATCH = 2048, 32


def test_every_clip_comes_once_an_epoch() -> None:
    for epoch in range(ORDER.epochs):
        seen = [index for batch in ORDER.batches() if batch.epoch == epoch for index in batch.indices]
        assert sorted(seen) == list(range(23))


def test_epochs_and_seeds_differ_and_repeat_themselves() -> None:
    assert ORDER.permutation(0).tolist() != ORDER.permutation(1).tolist()
    assert ORDER.permutation(1).tolist() == Order(clips=23, batch_clips=9, epochs=9, seed=7).permutation(1).tolist()
    assert ORDER.permutation(0).tolist() != Order(clips=23, batch_clips=5, epochs=3, seed=8).permutation(0).tolist()


def test_it_goes_on_from_any_batch_boundary() -> None:
    batches = list(ORDER.batches())
    assert len(batches) == ORDER.steps == 15
    assert [batch.step for batch in batches] == list(range(15))
    assert [batch.step for batch in batches if batch.ends_epoch] == [4, 9, 14]
    for done, batch in enumerate(batches, start=1):
        assert list(ORDER.batches(batch.samples_after)) == batches[done:]


@pytest.mark.parametrize("samples", [3, 21, 24, -5, 70])
def test_other_positions_are_refused(samples: int) -> None:
    with pytest.raises(ModelError, match="not at a batch boundary"):
        list(ORDER.batches(samples))


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_workers_share_each_batch_exactly(world: int) -> None:
    for batch in islice(ORDER.batches(), 5):
        parts = [shard(batch.indices, rank=rank, world=world) for rank in range(world)]
        assert sorted(index for part in parts for index in part) == sorted(batch.indices)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def alike(clips: int, batches: int) -> Alike | None:
    """For clips of lengths that all differ."""
    if batches == 1:
        return None
    return Alike(steps=np.random.default_rng(batches).permutation(clips).astype(np.int64), batches=batches)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    clips = draw(st.integers(1, 40))
    return Order(
        clips=clips,
        batch_clips=draw(st.integers(1, 12)),
        epochs=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 9)),
        alike=alike(clips, draw(st.integers(1, 5))),
    )


def test_clips_of_like_length_are_together_and_the_smaller_batch_is_last() -> None:
    steps = np.array([40, 10, 30, 20, 45, 15, 35, 25, 50, 5, 42], dtype=np.int64)
    order = Order(clips=11, batch_clips=2, epochs=4, seed=1, alike=Alike(steps=steps, batches=9))
    firsts = []
    for epoch in range(order.epochs):
        batches = [batch.indices for batch in order.batches() if batch.epoch == epoch]
        assert [len(batch) for batch in batches] == [2, 2, 2, 2, 2, 1]
        lengths = [sorted(steps[list(batch)].tolist()) for batch in batches]
        assert sorted(lengths) == [[5, 10], [15, 20], [25, 30], [35, 40], [42, 45], [50]]
        firsts.append(lengths[0][0])
    assert len(set(firsts)) > 1


@pytest.mark.parametrize(("batches", "share"), [(1, 0.015), (2, 0.027), (8, 0.09), (32, 0.34)])
def test_how_many_of_a_batch_were_together_in_the_epoch_before(batches: int, share: float) -> None:
    """The figures of `order.py`; of a full permutation it is (B - 1) / (N - 1)."""
    order = Order(clips=CLIPS, batch_clips=BATCH, epochs=30, seed=0, alike=alike(CLIPS, batches))
    batch_of = np.empty((order.epochs, CLIPS), dtype=np.int64)
    for epoch in range(order.epochs):
        batch_of[epoch, order.permutation(epoch)] = np.arange(CLIPS) // BATCH
    again = [np.unique(pair, axis=1, return_counts=True)[1] for pair in (batch_of[e : e + 2] for e in range(29))]
    together = sum(int((counts * (counts - 1)).sum()) for counts in again) / (29 * CLIPS * (BATCH - 1))
    assert together == pytest.approx(share, rel=0.05)
    if batches == 1:
        assert together == pytest.approx((BATCH - 1) / (CLIPS - 1), rel=0.05)


@settings(max_examples=60, deadline=None)
@given(
    order=orders(),
    checkpoint_steps=st.integers(1, 7),
    lives=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 25)), max_size=4),
)
def test_whatever_dies_and_however_many_go_on_the_sequence_is_the_same(
    order: Order, checkpoint_steps: int, lives: list[tuple[int, int]]
) -> None:
    """Each life has a number of workers and the steps after which it is killed; the next one goes on from the last
    checkpoint. What is learned from, in the end, is the uninterrupted sequence, with each clip once per epoch."""
    saved_samples, saved, learned = 0, [], []
    for world, steps in [*lives, (1, order.steps)]:
        learned = list(saved)
        for batch in islice(order.batches(saved_samples), steps):
            together = [-1] * len(batch.indices)
            for rank in range(world):
                together[rank::world] = shard(batch.indices, rank=rank, world=world)
            learned.append(tuple(together))
            if len(learned) % checkpoint_steps == 0:
                saved_samples, saved = batch.samples_after, list(learned)
    assert learned == [batch.indices for batch in order.batches()]
    for epoch in range(order.epochs):
        batches = learned[epoch * order.steps_per_epoch : (epoch + 1) * order.steps_per_epoch]
        assert sorted(index for batch in batches for index in batch) == list(range(order.clips))


def test_no_clips_is_an_error() -> None:
    with pytest.raises(ModelError, match="no clip to train on"):
        Order(clips=0, batch_clips=4, epochs=1, seed=0)


def test_derived_seeds_are_fixed_for_all_time() -> None:
    assert derived_seed(7, "order", 0) == 78328662011588367
    assert len({derived_seed(7, "step", step, rank) for step in range(50) for rank in range(4)}) == 200
