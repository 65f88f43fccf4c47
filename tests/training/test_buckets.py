from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from components.training import buckets
from components.training.buckets import Buckets


@pytest.mark.parametrize(
    ("sizes", "ends"),
    [
        ([1], [1]),
        ([3, 3, 3], [3]),  # less than twice the first size is one bucket
        ([4, 1], [2]),
        ([4, 1, 4], [1, 3]),
        ([1, 3, 30, 10, 10, 50, 3], [2, 5, 7]),
    ],
)
def test_a_bucket_ends_where_it_is_full(monkeypatch: pytest.MonkeyPatch, sizes: list[int], ends: list[int]) -> None:
    monkeypatch.setattr(buckets, "FIRST_BYTES", 4)
    monkeypatch.setattr(buckets, "BYTES", 50)
    assert buckets._ends(sizes) == ends


class Chain:
    """Four weights of one bucket each, of which the last gets its gradient first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fixed: int | None = None) -> None:
        monkeypatch.setattr(buckets, "FIRST_BYTES", 4)
        monkeypatch.setattr(buckets, "BYTES", 4)
        self.flat = torch.zeros(4)
        self.weights = [torch.ones(1, requires_grad=place != fixed) for place in range(4)]
        for weight, part in zip(self.weights, self.flat.split(1), strict=True):
            weight.grad = part
        self.buckets = Buckets(self.flat, self.weights)
        self.started: list[int] = []
        self.waited: list[int] = []

    def start(self, part: Tensor) -> Callable[[], object]:
        place = part.storage_offset()
        self.started.append(place)
        part.mul_(10)
        return lambda: self.waited.append(place)

    def backward(self, *used: int) -> None:
        x = torch.ones(1)
        for place in used:
            x = x * self.weights[place]
        x.backward()  # type: ignore[no-untyped-call]


def test_sums_start_from_the_end_as_gradients_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch)
    with chain.buckets.summing(chain.start):
        chain.backward(0, 1, 2, 3)
        assert chain.started == [3, 2, 1, 0]
        assert chain.waited == []
    chain.buckets.wait()
    assert chain.waited == [3, 2, 1, 0]
    assert chain.flat.tolist() == [10, 10, 10, 10]


def test_weights_that_are_not_used_hold_back_those_before_them_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch)
    with chain.buckets.summing(chain.start):
        chain.backward(0, 1, 3)
        assert chain.started == [3]
    assert chain.started == [3, 2, 1, 0]
    chain.buckets.wait()
    assert chain.flat.tolist() == [10, 10, 0, 10]


def test_weights_that_are_not_learned_hold_back_none(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch, fixed=3)
    with chain.buckets.summing(chain.start):
        chain.backward(0, 1, 2, 3)
        assert chain.started == [3, 2, 1, 0]
    chain.buckets.wait()
    assert chain.flat.tolist() == [10, 10, 10, 0]


def test_a_backward_pass_before_the_last_one_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch)
    chain.backward(0, 1, 2, 3)
    with chain.buckets.summing(chain.start):
        pass
    chain.buckets.wait()
    chain.backward(0, 1, 2, 3)
    assert chain.started == [3, 2, 1, 0]
    assert chain.flat.tolist() == [11, 11, 11, 11]


def test_after_an_error_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch)
    with pytest.raises(RuntimeError, match="torn"), chain.buckets.summing(chain.start):
        raise RuntimeError("torn")
    chain.backward(0, 1, 2, 3)
    assert chain.started == []
