from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.catalog.cases import Case
from components.contracts.config import Train
from components.contracts.labels import UNLABELLED
from components.evaluation.objectives import shift_for
from components.training.checkpoints.state import load_checkpoint, snapshot, write_checkpoint
from components.training.loop import TrainingTask, new_learner, train_steps
from components.training.samples.balance import Draws, draws_of, label_counts
from components.training.samples.order import Order, generator, shard
from tests.model.toys import Toy, toy_spec

POWERS = st.sampled_from([0.0, 0.3, 0.5, 1.0])
# One to four datasets, each with one to four classes of one to thirty clips; -1 is a class of clips without a label.
UNIONS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=4)


def clips_of(union: list[list[int]]) -> list[tuple[str, int]]:
    """(dataset, class) of each clip, mixed."""
    clips = [
        (f"corpus{dataset}", label - 1)
        for dataset, classes in enumerate(union)
        for label, count in enumerate(classes)
        for _ in range(count)
    ]
    return [clips[place] for place in np.random.default_rng(0).permutation(len(clips))]


def draws_for(clips: list[tuple[str, int]], dataset_power: float, class_power: float) -> Draws:
    datasets, labels = zip(*clips, strict=True)
    return Draws.of(datasets, labels, dataset_power=dataset_power, class_power=class_power)


@settings(max_examples=80, deadline=None)
@given(union=UNIONS, dataset_power=POWERS, class_power=POWERS, epoch=st.integers(0, 5))
def test_an_epoch_has_the_shares_of_the_rule_up_to_one_clip(
    union: list[list[int]], dataset_power: float, class_power: float, epoch: int
) -> None:
    clips = clips_of(union)
    drawn = draws_for(clips, dataset_power, class_power).epoch(generator(7, "order", epoch))
    assert drawn.size == len(clips)
    of_dataset = np.array([sum(classes) for classes in union], dtype=float) ** dataset_power
    times = Counter(drawn.tolist())
    for dataset, classes in enumerate(union):
        share = len(clips) * of_dataset[dataset] / of_dataset.sum()
        of_class = np.array(classes, dtype=float) ** class_power
        assert abs(sum(clips[clip][0] == f"corpus{dataset}" for clip in drawn) - share) < 1 + 1e-6
        for label, count in enumerate(classes):
            members = [place for place, clip in enumerate(clips) if clip == (f"corpus{dataset}", label - 1)]
            expected = share * of_class[label] / of_class.sum()
            assert abs(sum(times[clip] for clip in members) - expected) < 1 + 1e-6
            for clip in members:
                assert abs(times[clip] - expected / count) < 1 + 1e-6


def test_over_many_epochs_every_clip_of_a_class_comes_equally_often() -> None:
    clips = clips_of([[3, 20], [5, 2, 40]])
    draws = draws_for(clips, 0.5, 0.5)
    times = np.zeros(len(clips))
    for epoch in range(400):
        times += np.bincount(draws.epoch(generator(1, "order", epoch)), minlength=len(clips))
    np.testing.assert_allclose(times / 400, draws.expected, atol=0.12)


def test_in_proportion_there_is_nothing_to_draw() -> None:
    items = Toy(clips=9).items()
    assert draws_of(items, Train()) is None
    assert TrainingTask(spec=toy_spec(), train=Train(), seed=3).order(items).permutation(1).tolist() == (
        generator(3, "order", 1).permutation(9).tolist()
    )
    np.testing.assert_allclose(draws_for(clips_of([[3, 4], [9]]), 1, 1).expected, 1)


UNEVEN = Order(clips=40, batch_clips=7, epochs=3, seed=7, draws=draws_for(clips_of([[30, 4], [3, 3]]), 0.0, 0.3))


@settings(max_examples=30, deadline=None)
@given(
    checkpoint_steps=st.integers(1, 7),
    lives=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 25)), max_size=4),
)
def test_whatever_dies_and_however_many_go_on_the_same_clips_are_drawn(
    checkpoint_steps: int, lives: list[tuple[int, int]]
) -> None:
    whole = [list(zip(batch.indices, batch.earlier, strict=True)) for batch in UNEVEN.batches()]
    saved_samples, saved, learned = 0, [], []
    for world, steps in [*lives, (1, UNEVEN.steps)]:
        learned = list(saved)
        for batch in islice(UNEVEN.batches(saved_samples), steps):
            together = [(-1, -1)] * len(batch.indices)
            for rank in range(world):
                parts = (shard(values, rank=rank, world=world) for values in (batch.indices, batch.earlier))
                together[rank::world] = zip(*parts, strict=True)
            learned.append(together)
            if len(learned) % checkpoint_steps == 0:
                saved_samples, saved = batch.samples_after, list(learned)
    assert learned == whole


def test_a_clip_that_comes_again_in_an_epoch_is_changed_anew() -> None:
    for epoch in range(UNEVEN.epochs):
        come: Counter[int] = Counter()
        for batch in (batch for batch in UNEVEN.batches() if batch.epoch == epoch):
            for index, earlier in zip(batch.indices, batch.earlier, strict=True):
                assert earlier == come[index]
                come[index] += 1
        assert max(come.values()) > 1
    augment = TrainingTask(spec=toy_spec(), train=Train(feature_noise=0.1), seed=1).augment
    item = Toy(clips=1, missing=0.0).items()[0]
    once, twice = (augment(item, epoch=0, index=0, earlier=times).features["face"] for times in (0, 1))
    assert not np.array_equal(once, twice)


def union_of_toys() -> list[Case]:
    """Two datasets; three of four clips of the first are of one class, and some have no label of their own."""
    large = [replace(case, dataset="large") for case in Toy(clips=24).items() if case.clip_label in (0, 1, 2)]
    large += [replace(case, clip_id=f"{case.clip_id}+", dataset="large") for case in large if case.clip_label == 0] * 5
    return [*large, *(replace(case, dataset="small") for case in Toy(clips=6, seed=4).items())]


TASK = TrainingTask(
    spec=toy_spec(dropout=0.3, modality_dropout=0.4),
    train=Train(epochs=2, batch_clips=10, feature_noise=0.1, dataset_power=0.0, class_power=0.5),
    seed=5,
)


def test_a_training_that_was_interrupted_in_an_epoch_goes_on_bit_for_bit(tmp_path: Path) -> None:
    items = union_of_toys()
    whole = new_learner(TASK, items)
    list(train_steps(whole, TASK, items))
    first, second = new_learner(TASK, items), new_learner(TASK, items)
    list(islice(train_steps(first, TASK, items), 4))
    write_checkpoint(tmp_path / "state", snapshot(first, inputs_sha256="x"))
    load_checkpoint(tmp_path / "state", second, inputs_sha256="x")
    list(train_steps(second, TASK, items))
    for name in whole.parameters:
        assert torch.equal(second.parameters[name], whole.parameters[name]), name


@pytest.mark.parametrize("weighting", ["logit_adjustment", "inverse_frequency", "none"])
def test_what_is_drawn_more_often_is_not_answered_more_often(weighting: str) -> None:
    """The loss takes the prior of what is drawn out of the scores, or the answers do; the prior of the data returns."""
    items = [replace(item, step_labels=np.full_like(item.step_labels, UNLABELLED)) for item in union_of_toys()]
    classes = len(TASK.spec.classes)
    train = TASK.train.model_copy(update={"class_weighting": weighting})
    drawn = label_counts(items, classes, draws_of(items, train)).clip
    natural = np.bincount([item.clip_label for item in items], minlength=classes)
    present = natural > 0
    log_drawn, log_natural = np.log(drawn[present] / drawn.sum()), np.log(natural[present] / natural.sum())
    targets = new_learner(replace(TASK, train=train), items).objective.targets
    of_loss = np.array(targets.clip_balance.shift)[present]
    left = log_drawn - of_loss if weighting != "inverse_frequency" else np.zeros(int(present.sum()))
    for objective, prior in (("balanced", np.zeros_like(log_natural)), ("accuracy", log_natural)):
        shift = np.array(shift_for(objective, train, items, classes).clip or [0.0] * classes)[present]
        np.testing.assert_allclose(left + shift, prior, atol=1e-9)
    weighed = drawn * np.array(targets.clip_balance.weight)
    assert weighting != "inverse_frequency" or np.ptp(weighed[present]) < 1e-9
