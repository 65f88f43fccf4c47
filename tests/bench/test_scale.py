"""The simulations against formulas, and the page against the simulations."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.scale import (
    DAY,
    TIERS,
    Measured,
    Service,
    Spot,
    bottleneck,
    cost_table,
    month,
    serve,
    train,
)
from tests.pipelines.projects import ROOT

SCALING = (ROOT / "docs" / "scaling.md").read_text()
BENCHMARKS = ROOT / "docs" / "benchmarks"
# Constant arrivals at three replicas that are busy 73 % of the time.
PLAIN = Service(
    rates_per_s=[2.0], period_s=20_000.0, service_s=1.1, spread=1.0, least=3, most=3, start_s=0.0, places=None
)
SPOT = Spot(
    work_s=12_000.0, workers=1, least=1, lost_every_s=600.0, checkpoint_s=300.0, restart_s=100.0, replace_s=100.0
)


def erlang_c(replicas: int, load: float) -> float:
    """The probability that an arrival must wait; `load` is arrivals per second times the mean service time."""
    if load >= replicas:
        return 1.0
    terms = [1.0]
    for k in range(1, replicas + 1):
        terms.append(terms[-1] * load / k)
    last = terms[-1] * replicas / (replicas - load)
    return last / (sum(terms[:-1]) + last)


def without_autoscaling(service: Service) -> Service:
    """The same with its least number of replicas throughout and any number of places, as the formulas assume."""
    return replace(service, most=service.least, places=None)


def erlang_b(servers: int, load: float) -> float:
    terms = [load**k / math.factorial(k) for k in range(servers + 1)]
    return terms[-1] / sum(terms)


def test_waiting_is_as_erlang_says() -> None:
    served = serve(PLAIN, seed=1)
    must_wait = erlang_c(3, 2.2)
    assert np.mean(served.waits_s > 0) == pytest.approx(must_wait, rel=0.05)
    assert served.waits_s.mean() == pytest.approx(must_wait / (3 / 1.1 - 2.0), rel=0.1)
    assert served.refused == 0
    assert served.replica_s == pytest.approx(3 * served.lasted_s)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_one_replica_waits_as_pollaczek_and_khinchine_say(spread: float) -> None:
    served = serve(replace(PLAIN, rates_per_s=[0.6], period_s=60_000.0, spread=spread, least=1, most=1), seed=2)
    busy = 0.6 * 1.1
    assert served.waits_s.mean() == pytest.approx(busy * 1.1 * (1 + spread**2) / 2 / (1 - busy), rel=0.08)


def test_without_places_as_many_are_refused_as_erlang_says() -> None:
    served = serve(replace(PLAIN, places=0), seed=3)
    assert served.refused_share == pytest.approx(erlang_b(3, 2.2), rel=0.05)
    assert served.waits_s.max() == 0


def test_replicas_that_start_at_once_make_nobody_wait_and_cost_the_load_alone() -> None:
    served = serve(replace(PLAIN, least=0, most=1000, idle_s=0.0), seed=4)
    assert served.waits_s.max() == 0
    assert served.replica_s / served.lasted_s == pytest.approx(2.2, rel=0.05)


def test_slower_starts_make_longer_waits_and_a_bound_on_replicas_refuses() -> None:
    burst = replace(PLAIN, rates_per_s=[0.1, 8.0, 0.1], period_s=600.0, least=1, most=20, places=32)
    waits = [serve(replace(burst, start_s=start_s), seed=5).wait_s(0.95) for start_s in (0.0, 20.0, 120.0)]
    assert waits == sorted(waits)
    assert waits[0] == 0 < waits[-1]
    assert serve(without_autoscaling(burst), seed=5).refused == 0
    assert serve(replace(burst, most=2), seed=5).refused_share > 0.5


def test_the_same_seed_gives_the_same_day_and_a_different_one_does_not() -> None:
    first, again, other = (serve(replace(PLAIN, period_s=200.0), seed).waits_s.sum() for seed in (6, 6, 7))
    assert first == again != other


def test_work_that_is_interrupted_takes_as_long_as_daly_says() -> None:
    runs = [train(SPOT, seed) for seed in range(300)]
    segments = SPOT.work_s / SPOT.checkpoint_s
    expected_s = segments * (SPOT.lost_every_s + SPOT.restart_s) * math.expm1(SPOT.checkpoint_s / SPOT.lost_every_s)
    assert np.mean([run.took_s for run in runs]) == pytest.approx(expected_s, rel=0.03)
    assert np.mean([run.losses for run in runs]) == pytest.approx(segments * math.expm1(0.5), rel=0.05)


def test_work_without_losses_takes_its_time() -> None:
    run = train(replace(SPOT, lost_every_s=1e12, workers=4, least=2), seed=0)
    assert run == (12_000.0, 48_000.0, 0)


def test_going_on_with_fewer_takes_less_time_than_waiting() -> None:
    many = replace(SPOT, workers=16, lost_every_s=4 * 3600.0, checkpoint_s=60.0, replace_s=600.0, least=16)
    waits, goes_on = (np.mean([train(replace(many, least=n), s).took_s for s in range(40)]) for n in (16, 8))
    assert goes_on < waits


def test_a_training_that_never_ends_is_given_up() -> None:
    run = train(replace(SPOT, lost_every_s=1.0), seed=0, longest_s=5000.0)
    assert 5000.0 <= run.took_s < 5200.0


def test_a_cause_is_cheaper_than_a_habit() -> None:
    team = replace(TIERS[0], news_share=0.0)
    measured = Measured()
    caused = month(team, measured, only_with_cause=True, seed=1)
    assert caused.total_h == caused.looking_h == pytest.approx(30 * 10_000 * 0.0006 / 3600)
    always = month(team, measured, only_with_cause=False, seed=1)
    assert always.training_h == pytest.approx(30 * 10_000 * 0.8 * 60 * 0.0515 / 32 / 3600)


def test_the_bottleneck_is_the_longest_part() -> None:
    name, hours = bottleneck(replace(TIERS[0], cores=1, new_share=1.0), Measured())
    assert name == "encoding"
    assert hours[name] == max(hours.values()) == pytest.approx(10_000 * 0.35 / 3600)


def test_a_day_has_a_mean_of_one() -> None:
    assert np.mean(DAY) == pytest.approx(1.0)


def test_what_was_measured_stands_on_the_pages() -> None:
    speed, service = ((BENCHMARKS / name).read_text() for name in ("speed.md", "service.md"))
    measured = Measured()
    assert f"{1000 * measured.step_core_s:.1f} ms" in speed
    assert f"{measured.clip_core_s:.2f} s of processor time per clip" in speed
    assert f"{measured.prediction_s:.2f} s for the 8 s clip" in service


def test_the_step_of_a_bench_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    row = {"unit": "step", "ours": {"amount": 0.02}}
    file.write_text(json.dumps({"benchmarks": {"training-step": [row, row]}}))
    assert Measured.of(file) == Measured(step_core_s=0.02)


def test_the_pages_table_of_waits_is_erlangs() -> None:
    rows = re.findall(r"^\| ([\d.]+) \| (\d+) \| \d+ % \| (\d+) % \| ([\d.]+) s \|", SCALING, re.MULTILINE)
    assert len(rows) == 7
    for rate, replicas, must_wait, mean in rows:
        c, load = int(replicas), float(rate) * Measured().prediction_s
        assert round(100 * erlang_c(c, load)) == int(must_wait)
        assert erlang_c(c, load) / (c / 1.1 - float(rate)) == pytest.approx(float(mean), abs=0.006)


def test_the_pages_costs_are_the_simulations() -> None:
    for line in cost_table(Measured(), seed=7):
        assert line in SCALING
