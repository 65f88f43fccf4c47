"""A training that is killed while it reads any of its clips, again and again, and goes on with any workers."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.catalog.cases import Case
from components.contracts.config import Runtime, Train
from components.training.job import Job, Trained, fit_here
from components.training.loop import TrainingTask
from components.training.samples import loader
from components.training.samples.order import GlobalBatch
from tests.model.toys import Toy, toy_spec

TRAIN = Train(epochs=2, batch_clips=3)
JOB = Job(
    task=TrainingTask(spec=toy_spec(width=8), train=TRAIN, seed=3),
    items=Toy(clips=7, steps=(4, 9)).items,
    inputs_sha256="x",
)
ORDER = JOB.task.order(JOB.items("train"))
BATCHES = [batch.indices for batch in ORDER.batches()]


class _KilledError(BaseException):
    """The process is gone."""


class Clips(list[Case]):
    """Clips that note which are read for batches, and of which the reader dies after so many."""

    def __init__(self, items: list[Case], dies_after: int | None) -> None:
        super().__init__(items)
        self.dies_after, self.read, self.batches = dies_after, 0, dict[int, list[int]]()
        self.of: int | None = None

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if self.of is not None:
            if self.read == self.dies_after:
                raise _KilledError
            self.read += 1
            self.batches[self.of].append(index)
        return super().__getitem__(index)


def live(
    folder: Path, workers: int, dies_after: int | None, *, ahead: int, checkpoint_steps: int
) -> tuple[Clips, Trained | None]:
    """One life of the training: the shares of so many workers, computed one after the other."""
    clips = Clips(JOB.items("train"), dies_after)
    real = loader.Loader.__call__

    def noted(self: loader.Loader, batch: GlobalBatch) -> object:
        clips.of = batch.step
        clips.batches[batch.step] = []
        try:
            return real(self, batch)
        finally:
            clips.of = None

    job = replace(JOB, items=lambda split: clips if split == "train" else JOB.items(split))
    runtime = Runtime(workers=0, parts=workers, batches_ahead=ahead, checkpoint_steps=checkpoint_steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader.Loader, "__call__", noted)
        try:
            return clips, fit_here(job, folder, lambda _: None, runtime)
        except _KilledError:
            return clips, None


@cache
def whole_training() -> Trained:
    """Of one worker that nobody disturbs."""
    with tempfile.TemporaryDirectory() as folder:
        return fit_here(JOB, Path(folder), lambda _: None, Runtime(workers=0))


@settings(max_examples=8, deadline=None)
@given(
    lives=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 14), st.integers(0, 3)), max_size=3),
    last=st.integers(1, 5),
    checkpoint_steps=st.integers(1, 4),
)
def test_whenever_it_dies_and_whoever_goes_on_it_learns_the_same(
    lives: list[tuple[int, int, int]], last: int, checkpoint_steps: int
) -> None:
    """Each life reads the batches of the uninterrupted sequence, each clip of them once, from a batch that the lives
    before it reached; and what is learned in the end is the same, up to the rounding of sums over workers."""
    reached = 0
    with tempfile.TemporaryDirectory() as folder:
        for workers, dies_after, ahead in [*lives, (last, None, 2)]:
            clips, trained = live(Path(folder), workers, dies_after, ahead=ahead, checkpoint_steps=checkpoint_steps)
            read = sorted(clips.batches.items())
            first = read[0][0] if read else len(BATCHES)
            assert first <= reached
            assert [step for step, _ in read] == list(range(first, first + len(read)))
            whole = [step for step, clips_read in read if sorted(clips_read) == sorted(BATCHES[step])]
            assert whole == list(range(first, first + len(whole)))
            assert all(set(clips_read) < set(BATCHES[step]) for step, clips_read in read[len(whole) :])
            assert trained is None or len(whole) == len(read)
            reached = max(reached, first + len(whole))
    assert trained is not None
    assert reached == len(BATCHES)
    for one, other in zip(whole_training().history, trained.history, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6)
    for name, value in whole_training().weights.items():
        assert torch.allclose(trained.weights[name], value, atol=1e-4), name
