from __future__ import annotations

import gc

import pytest

from bench.pairs import PairedTimes, alternate
from bench.report import Spread


def test_both_run_in_turn_and_the_first_changes() -> None:
    calls: list[str] = []
    found = alternate(lambda: calls.append("b"), lambda: calls.append("o"), pairs=3, warmup=1, what="turns")
    assert "".join(calls) == "obboobbo"
    assert found.count == len(found.baseline_s) == 3
    assert all(seconds > 0 for seconds in (*found.baseline_s, *found.ours_s))


def test_each_side_gets_its_own_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("bench.pairs.time.perf_counter", lambda: clock[0])

    def take(seconds: float) -> None:
        clock[0] += seconds

    found = alternate(lambda: take(2.0), lambda: take(3.0), pairs=2, warmup=0, what="times")
    assert found == PairedTimes(baseline_s=(2.0, 2.0), ours_s=(3.0, 3.0))


def test_the_ratio_is_of_neighbours() -> None:
    # The second pair ran while the machine was ten times slower: the ratio does not see it.
    found = PairedTimes(baseline_s=(1.0, 10.0, 1.0), ours_s=(2.0, 20.0, 2.0))
    assert found.cost == Spread(median=2.0, low=2.0, high=2.0)
    assert found.gain == Spread(median=0.5, low=0.5, high=0.5)
    assert found.medians_s == (1.0, 2.0)


def test_collection_is_off_while_it_measures_and_on_afterwards() -> None:
    seen: list[bool] = []
    alternate(lambda: seen.append(gc.isenabled()), lambda: None, pairs=1, warmup=0, what="collection")
    assert seen == [False]
    assert gc.isenabled()
