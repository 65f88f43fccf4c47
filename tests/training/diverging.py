"""A training that diverges: the features of one clip become infinite when a process reads it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.catalog.cases import Case
from components.training.job import Job
from tests.model.toys import Toy


@dataclass(frozen=True)
class Diverging:
    """Clips, of which the one at `late` becomes infinite when it is read again; none are held out."""

    toy: Toy
    late: int

    def __call__(self, split: str) -> Sequence[Case]:
        return _Turning(self.toy.items(), self.late) if split == "train" else []


class _Turning(list[Case]):
    def __init__(self, items: list[Case], late: int) -> None:
        super().__init__(items)
        self.late, self.reads = late, 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        item = super().__getitem__(index)
        self.reads += index == self.late
        if index != self.late or self.reads < 2:
            return item
        mask = {name: np.ones_like(valid) for name, valid in item.masks.items()}
        face = np.full_like(item.features["face"], np.inf)
        return replace(item, features={**item.features, "face": face}, masks=mask)


def diverging(job: Job, toy: Toy) -> tuple[Job, str]:
    """The training of a toy whose last clip of the second epoch turns, and the name of that clip. It travels to
    workers."""
    items = toy.items()
    late = int(job.task.order(items).permutation(1)[-1])
    return replace(job, items=Diverging(toy, late)), items[late].clip_id
