"""The sum of a gradient over workers, in parts that are under way while the backward pass goes on.

As in DDP (Li et al. 2020, arXiv 2006.15704, section 3.2.3): the last weights of a model get their gradients first, so
the flat gradient is cut from its end, and the sum of a bucket starts when all of its gradients are there. Workers start
the same buckets in the same order, whichever weights their clips use; what has not started when a backward pass ends
is started then. A model of one bucket has nothing to overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

# Starts to add up a tensor over all workers, in place; what it returns waits for that.
StartSum = Callable[[Tensor], Callable[[], object]]
# DDP's sizes. The first one is small, so that the sums start early.
FIRST_BYTES, BYTES = 1 << 20, 25 << 20


@dataclass
class _Pass:
    """One backward pass: how many gradients each bucket still waits for, and the sums that were started."""

    start: StartSum
    missing: list[int]
    waits: list[Callable[[], object]] = field(default_factory=list)


class Buckets:
    """Those of the gradient that lies in `flat`, for parameters whose gradients are its parts, in order.

    Args:
        flat: (N,) the gradient.
        parameters: with N elements in all.
    """

    def __init__(self, flat: Tensor, parameters: Sequence[Tensor]) -> None:
        ends = _ends([parameter.numel() * flat.element_size() for parameter in reversed(parameters)])
        self._parts: list[Tensor] = []
        self._sizes: list[int] = []
        self._pass: _Pass | None = None
        last, first = flat.numel(), 0
        for number, end in enumerate(ends):
            own = parameters[len(parameters) - end : len(parameters) - first]
            size = sum(parameter.numel() for parameter in own)
            learned = [parameter for parameter in own if parameter.requires_grad]
            self._parts.append(flat[last - size : last])
            self._sizes.append(len(learned))
            last, first = last - size, end
            if len(ends) > 1:
                for parameter in learned:
                    parameter.register_post_accumulate_grad_hook(partial(self._arrived, number))  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self._parts)

    @contextmanager
    def summing(self, start: StartSum) -> Iterator[None]:
        """Starts the sums of the buckets in a block in which the last backward pass of a step runs, and at its end."""
        self._pass = _Pass(start, list(self._sizes))
        try:
            yield
            self._start_whole(every=True)
        except BaseException:
            self._pass = None
            raise

    def wait(self) -> None:
        """Until all sums that `summing` started are there."""
        assert self._pass is not None
        for wait in self._pass.waits:
            wait()
        self._pass = None

    def _arrived(self, bucket: int, _: Tensor) -> None:
        if self._pass is not None:
            self._pass.missing[bucket] -= 1
            self._start_whole()

    def _start_whole(self, *, every: bool = False) -> None:
        """Starts the next buckets whose gradients are all there, or all that are left."""
        assert self._pass is not None
        for part in self._parts[len(self._pass.waits) :]:
            if self._pass.missing[len(self._pass.waits)] and not every:
                return
            self._pass.waits.append(self._pass.start(part))


def _ends(sizes: Sequence[int]) -> list[int]:
    """Where buckets of so many bytes each end, as numbers of parameters; a small rest joins the last one."""
    ends: list[int] = []
    within = 0
    for number, size in enumerate(sizes, start=1):
        within += size
        if within >= (BYTES if ends else FIRST_BYTES):
            ends.append(number)
            within = 0
    if within >= FIRST_BYTES or not ends:
        return [*ends, len(sizes)]
    return [*ends[:-1], len(sizes)]
