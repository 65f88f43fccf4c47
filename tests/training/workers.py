"""Workers as threads: real learners that add their tensors up as processes do over gloo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch

from components.catalog.cases import Case
from components.runtime.threads import one_thread
from components.training.learner import Learner, Share
from components.training.loop import TrainingTask, new_learner, run_epochs


def train_in_threads(
    task: TrainingTask,
    training: Sequence[Case],
    held_out: Sequence[Case],
    *,
    world: int,
    epochs: int | None = None,
    start: Callable[[Learner], None] = lambda _: None,
) -> tuple[list[Learner], list[list[dict[str, Any]]]]:
    """(learner, history) of each worker, after all epochs or the first `epochs`; `start` loads what they begin with.

    Without dropout only: threads share torch's random state.
    """
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

    learners = [new_learner(task, training) for _ in range(world)]
    for learner in learners:
        start(learner)

    def work(rank: int) -> None:
        list(islice(run_epochs(learners[rank], task, training, held_out, share=share(rank)), epochs))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    with one_thread():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return learners, [learner.history for learner in learners]
