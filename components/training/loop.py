"""The training loop of one worker: no Ray, no MLflow, no files.

    for record in run_epochs(learner, training, held_out, share=share):
        ...  # once per epoch; the learner is at a batch boundary and may be saved

A learner that was loaded from a checkpoint continues bit for bit, with the same number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from components.catalog.cases import Case
from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.model.objective import Objective
from components.model.spec import ModelSpec
from components.training.earlier import Start
from components.training.heldout import held_out_scores
from components.training.learner import DivergedError, Learner, Share, learning_rate
from components.training.samples.balance import draws_of, label_counts
from components.training.samples.items import Augment, Batch
from components.training.samples.loader import AHEAD, Loader, made_ahead
from components.training.samples.order import GlobalBatch, Order, alike_of, derived_seed
from components.training.samples.prompts import class_texts

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

ALONE = Share()
# How many clips of a batch an error names.
CLIPS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """Model, settings and seed of a training, and what it starts from: everything but the clips."""

    spec: ModelSpec
    train: Train
    seed: int
    start: Start | None = None

    def order(self, training: Sequence[Case]) -> Order:
        """The order of the training clips, some drawn more often than others where `train` says so."""
        return Order(
            clips=len(training),
            batch_clips=self.train.batch_clips,
            epochs=self.train.epochs,
            seed=self.seed,
            draws=draws_of(training, self.train),
            alike=alike_of(training, self.train),
        )

    @property
    def augment(self) -> Augment:
        """The random changes of training."""
        return Augment(
            max_steps=self.train.max_steps_per_clip,
            modality_dropout=self.spec.model.modality_dropout,
            noise=self.train.feature_noise,
            pooled_share=self.train.pooled_share,
            seed=self.seed,
        )


def new_learner(
    task: TrainingTask,
    training: Sequence[Case],
    *,
    device: torch.device | None = None,
    mesh: DeviceMesh | None = None,
) -> Learner:
    """A learner at the start, balanced for the labels of the training clips as they are drawn; with a mesh, in parts on
    its workers.

    Raises:
        ModelError: a class that is declared absent has training clips.
    """
    order = task.order(training)
    counts = label_counts(training, len(task.spec.classes), order.draws)
    objective = Objective.of(
        task.train,
        step_counts=counts.step.tolist(),
        clip_counts=counts.clip.tolist(),
        valence_arousal=task.spec.valence_arousal,
        embedding=task.spec.embedding,
        texts=class_texts(task.train, task.spec),
        seed=derived_seed(task.seed, "texts"),
    )
    for name, present in zip(task.spec.classes, objective.targets.present, strict=True):
        if present and name in task.spec.absent:
            raise ModelError("a class that is declared absent has training clips", where="classes", seen=name)
    return Learner(
        task.spec,
        task.train,
        objective,
        seed=task.seed,
        steps=order.steps,
        device=device or torch.device("cpu"),
        training=training,
        start=task.start,
        mesh=mesh,
    )


def train_steps(
    learner: Learner,
    task: TrainingTask,
    training: Sequence[Case],
    *,
    share: Share = ALONE,
    parts: int = 1,
    ahead: int = AHEAD,
) -> Iterator[tuple[GlobalBatch, dict[str, float]]]:
    """Trains from the state of the learner to the end; yields each global batch with its losses after its step.

    Each worker computes its clips of a batch in so many parts, one after the other (`Learner.step`). The clips of up to
    `ahead` batches are read, changed and padded by a thread meanwhile (`loader.py`).

    Raises:
        DivergedError: the gradient is not finite; it names the step and the clips.
    """
    loader = Loader(training=training, augment=task.augment, share=share, device=learner.device, parts=parts)
    places = task.order(training).batches(learner.samples)
    with closing(made_ahead(loader, places, ahead=ahead)) as loaded:
        while True:
            with learner.clock("data_wait"):
                batch, mine = next(loaded, (None, []))
            if batch is None:
                return
            losses = _stepped(learner, batch, mine, training, share)
            for name, value in losses.items():
                learner.epoch_sums[name] = learner.epoch_sums.get(name, 0.0) + value * len(batch.indices)
            yield batch, losses


def _stepped(
    learner: Learner, batch: GlobalBatch, mine: Sequence[Batch | None], training: Sequence[Case], share: Share
) -> dict[str, float]:
    """The losses of one step; where it diverges, the error names the clips."""
    try:
        return learner.step(
            *(None if part is None else part.to(learner.device) for part in mine),
            step=batch.step,
            samples=batch.samples_after,
            share=share,
        )
    except DivergedError as error:
        clips = _suspects([training[index] for index in batch.indices])
        fields = {**error.fields, "where": f"epoch {batch.epoch}, {error.where}", "seen": f"{error.seen}, {clips}"}
        raise DivergedError(error.what, **fields) from error


def _suspects(batch: Sequence[Case]) -> str:
    """The clips of a batch that have features which are not finite; all of them where none has."""
    infinite = [case for case in batch if not all(np.isfinite(values).all() for values in case.features.values())]
    names = [case.clip_id for case in infinite or batch]
    shown = ", ".join(names[:CLIPS_SHOWN]) + (f" and {len(names) - CLIPS_SHOWN} more" if names[CLIPS_SHOWN:] else "")
    return f"infinite features of {shown}" if infinite else f"clips {shown}"


def run_epochs(
    learner: Learner,
    task: TrainingTask,
    training: Sequence[Case],
    held_out: Sequence[Case],
    *,
    share: Share = ALONE,
    parts: int = 1,
    ahead: int = AHEAD,
    at_boundary: Callable[[Learner], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """Trains to the end; yields the record of each epoch, which is then the last of `learner.history`.

    `parts` and `ahead` are those of `train_steps`. `at_boundary` is called after each batch, where the learner may be
    saved: after the last of an epoch, when the record is made.

    A record holds `epoch`, `learning_rate`, the mean loss parts of the epoch, and the scores of the averaged
    weights on held-out clips. It holds no durations: equal trainings have equal histories.
    """
    for batch, _ in train_steps(learner, task, training, share=share, parts=parts, ahead=ahead):
        if not batch.ends_epoch:
            at_boundary(learner)
            continue
        record: dict[str, Any] = {
            "epoch": batch.epoch,
            "learning_rate": learning_rate(task.train, batch.step, learner.steps),
            **{name: total / len(training) for name, total in learner.epoch_sums.items()},
        }
        with learner.clock("held_out"), learner.averaged_model() as predict:
            scores = held_out_scores(
                learner.model,
                predict,
                held_out,
                classes=len(task.spec.classes),
                device=learner.device,
                share=share,
            )
        record.update(scores)
        learner.epoch_sums = {}
        learner.history.append(record)
        at_boundary(learner)
        yield record
