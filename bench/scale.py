"""What a larger installation would do: queues with autoscaling, lost spot machines, the cost of training again.

Nothing is measured here. The simulations are pure functions of their settings and a seed; what they take for service
and training times was measured and stands on the pages of `docs/benchmarks/` (`Measured`). `python -m bench.scale`
prints the tables of `docs/scaling.md`; `--bench FILE` takes the training step from a file that `make bench` wrote
(`BENCH='--json FILE'`).

Where a formula exists, the tests hold a simulation to it: Erlang's C and B for queues without autoscaling (Kleinrock
1975, Queueing Systems I, sections 3.5 and 3.6), Pollaczek and Khinchine's for one server (ibid., section 5.6), and the
mean time of work in segments that failures interrupt (Daly 2006, Future Generation Computer Systems 22, section 3).
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
STEP_CLIPS = 32


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of the pages of `docs/benchmarks/`, of one slow machine with two cores.

    Attributes:
        prediction_s: an answer to a clip of 8 s (service.md).
        clip_core_s: aligning and encoding a clip of 5 s, in seconds of one core (speed.md).
        step_core_s: a training step of 32 clips, in seconds of one core (speed.md).
        file_s: looking whether one file changed (speed.md).
        replica_start_s: from the demand for a replica to its first answer.
    """

    prediction_s: float = 1.10
    clip_core_s: float = 0.35
    step_core_s: float = 0.0515
    file_s: float = 0.0006
    replica_start_s: float = 60.0

    @classmethod
    def of(cls, bench: Path) -> Measured:
        """With the training step that `make bench` wrote to a file."""
        rows = json.loads(bench.read_text())["benchmarks"]["training-step"]
        steps = [row["ours"]["amount"] for row in rows if row.get("unit") == "step"]
        return cls(step_core_s=steps[0]) if steps else cls()


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that scales.

    Attributes:
        rates_per_s: arrivals per second, in turn, each for `period_s`; a day goes round.
        service_s: mean time of a prediction.
        spread: standard deviation of that time over its mean: 1 is exponential, 0 constant; between, gamma.
        least, most: replicas.
        start_s: until a replica that was asked for answers.
        idle_s: without need of it, after which a replica is given back.
        places: how many may wait; one more is refused. None: any number.
    """

    rates_per_s: Sequence[float]
    period_s: float
    service_s: float
    spread: float
    least: int
    most: int
    start_s: float
    idle_s: float = 600.0
    places: int | None = 32


class Served(NamedTuple):
    """What became of the requests.

    Attributes:
        waits_s: (n,) of those that were answered.
        refused: how many were refused.
        replica_s: replicas times seconds that were paid for.
        lasted_s: until the last answer.
    """

    waits_s: np.ndarray
    refused: int
    replica_s: float
    lasted_s: float

    @property
    def refused_share(self) -> float:
        """Of all requests."""
        return self.refused / max(1, self.refused + len(self.waits_s))

    def wait_s(self, share: float) -> float:
        """The wait that this share of the answered requests did not exceed."""
        return float(np.quantile(self.waits_s, share)) if len(self.waits_s) else 0.0


def arrivals_s(rates_per_s: Sequence[float], period_s: float, rng: np.random.Generator) -> Iterator[float]:
    """Times of Poisson arrivals whose rate changes each period."""
    for turn, rate in enumerate(rates_per_s):
        count = rng.poisson(rate * period_s)
        yield from (turn * period_s + np.sort(rng.uniform(0, period_s, count))).tolist()


def serve(service: Service, seed: int) -> Served:
    """Simulates a service, event by event: arrivals, ends of predictions, replicas that come and go.

    A replica is asked for when a request must wait and those that start do not suffice for all who wait; one that has
    had nothing to do for `idle_s` goes.
    """
    rng = np.random.default_rng(seed)
    times = times_s(service, rng)
    events: list[tuple[float, int, str]] = []  # when, order, what
    queue: deque[float] = deque()
    idle: deque[float] = deque([0.0] * service.least)  # since when; the newest last
    up, starting, order, refused, paid_s, last_s = service.least, 0, 0, 0, 0.0, 0.0
    waits: list[float] = []
    coming = arrivals_s(service.rates_per_s, service.period_s, rng)
    following = next(coming, None)

    def put(when: float, what: str) -> None:
        nonlocal order
        order += 1
        heapq.heappush(events, (when, order, what))

    while following is not None or events:
        if following is not None and (not events or following <= events[0][0]):
            now, what = following, "arrival"
            following = next(coming, None)
        else:
            now, _, what = heapq.heappop(events)
        paid_s += (up + starting) * (now - last_s)
        last_s = now
        if what == "arrival":
            if service.places is not None and len(queue) >= service.places and not idle:
                refused += 1
                continue
            queue.append(now)
        elif what == "started":
            starting, up = starting - 1, up + 1
            idle.append(now)
        elif what == "ended":
            idle.append(now)
        while queue and idle:
            idle.pop()  # the newest, so that the others may go
            waits.append(now - queue.popleft())
            put(now + next(times), "ended")
        while idle and up > service.least and now - idle[0] >= service.idle_s:
            idle.popleft()
            up -= 1
        while len(queue) > starting and up + starting < service.most:
            starting += 1
            put(now + service.start_s, "started")
    return Served(waits_s=np.array(waits), refused=refused, replica_s=paid_s, lasted_s=last_s)


def times_s(service: Service, rng: np.random.Generator) -> Iterator[float]:
    """Times of predictions."""
    if service.spread == 0:
        while True:
            yield service.service_s
    shape = service.spread**-2
    while True:
        yield from rng.gamma(shape, service.service_s / shape, 4096).tolist()


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A training on machines that may be lost.

    Attributes:
        work_s: on all workers, without a loss.
        workers: their number.
        least: with so many the training goes on; the work takes longer in proportion.
        lost_every_s: mean time until a machine is lost; exponential.
        checkpoint_s: between two checkpoints.
        restart_s: until the training goes on after a loss.
        replace_s: until a lost machine is replaced.
    """

    work_s: float
    workers: int
    least: int
    lost_every_s: float
    checkpoint_s: float
    restart_s: float
    replace_s: float


class Trained(NamedTuple):
    """How a training went: its time, machine seconds that were paid for, machines lost."""

    took_s: float
    machine_s: float
    losses: int


def train(spot: Spot, seed: int, *, longest_s: float = math.inf) -> Trained:
    """Simulates a training. Every loss returns it to its last checkpoint; machines that come back join at a restart."""
    rng = np.random.default_rng(seed)
    done_s = now = machine_s = 0.0
    here, losses = spot.workers, 0
    back: list[float] = []  # when lost machines are replaced
    while done_s < spot.work_s and now < longest_s:
        while back and back[0] <= now:
            heapq.heappop(back)
            here += 1
        if here < spot.least:
            machine_s += here * (back[0] - now)
            now = back[0]
            continue
        speed = here / spot.workers
        needed_s = (spot.work_s - done_s) / speed
        lost_s = rng.exponential(spot.lost_every_s / here)
        run_s = min(needed_s, lost_s)
        joins_s = back[0] - now if back else math.inf
        if joins_s < run_s:  # a checkpoint is taken, and the training goes on with one more
            done_s += joins_s * speed
            machine_s += here * joins_s
            now += joins_s
            continue
        machine_s += here * run_s
        now += run_s
        if needed_s <= lost_s:
            return Trained(now, machine_s, losses)
        kept_s = math.floor(run_s / spot.checkpoint_s) * spot.checkpoint_s
        done_s += kept_s * speed
        here, losses = here - 1, losses + 1
        heapq.heappush(back, now + spot.replace_s)
        machine_s += here * spot.restart_s
        now += spot.restart_s
    return Trained(now, machine_s, losses)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """An installation.

    Attributes:
        name: its name.
        clips: in its data.
        new_share: of the clips that come on a night with news.
        news_share: of the nights on which there are any.
        day_rates_per_s: predictions per second over the hours of a day.
        least, most: replicas.
        cores: that align and encode at once.
        workers: of the training.
    """

    name: str
    clips: int
    new_share: float
    news_share: float
    day_rates_per_s: Sequence[float]
    least: int
    most: int
    cores: int
    workers: int


# A day in twelve parts: little at night, peaks at noon and in the evening; the mean is 1.
DAY = (0.2, 0.2, 0.3, 0.5, 1.0, 1.5, 1.9, 1.7, 1.3, 1.5, 1.3, 0.6)
# The third's service is one of a hundred cells with a load balancer before them; its data and training are the whole.
TIERS = (
    Tier(name="team", clips=10_000, new_share=0.01, news_share=0.3,
         day_rates_per_s=[0.1 * share for share in DAY], least=1, most=2, cores=2, workers=1),
    Tier(name="company", clips=1_000_000, new_share=0.01, news_share=0.9,
         day_rates_per_s=[5 * share for share in DAY], least=3, most=24, cores=32, workers=16),
    Tier(name="internet", clips=100_000_000, new_share=0.01, news_share=1.0,
         day_rates_per_s=[50 * share for share in DAY], least=30, most=160, cores=256, workers=64),
)  # fmt: skip
EPOCHS, TRAININGS, TRAINED_SHARE = 30, 2, 0.8


@dataclass(frozen=True, kw_only=True)
class Night:
    """Core hours of one month of nights, by what they are for."""

    looking_h: float
    encoding_h: float
    training_h: float

    @property
    def total_h(self) -> float:
        """All of it."""
        return self.looking_h + self.encoding_h + self.training_h


def month(tier: Tier, measured: Measured, *, only_with_cause: bool, seed: int, nights: int = 30) -> Night:
    """The cost of training again every night, or on those on which new data came."""
    rng = np.random.default_rng(seed)
    news = rng.random(nights) < tier.news_share
    trainings = int(news.sum()) if only_with_cause else nights
    return Night(
        looking_h=nights * tier.clips * measured.file_s / HOUR_S,
        encoding_h=int(news.sum()) * tier.clips * tier.new_share * measured.clip_core_s / HOUR_S,
        training_h=trainings * training_core_s(tier.clips, measured) / HOUR_S,
    )


def training_core_s(clips: int, measured: Measured) -> float:
    """A training of the default settings, in seconds of one core."""
    return clips * TRAINED_SHARE * EPOCHS * TRAININGS * measured.step_core_s / STEP_CLIPS


def day(tier: Tier, measured: Measured, *, start_s: float, seed: int, most: int | None = None) -> Served:
    """A day of a tier's service."""
    service = Service(
        rates_per_s=tier.day_rates_per_s,
        period_s=2 * HOUR_S,
        service_s=measured.prediction_s,
        spread=0.5,  # clips differ in length
        least=tier.least,
        most=most or tier.most,
        start_s=start_s,
    )
    return serve(service, seed)


def spot_of(tier: Tier, measured: Measured, *, lost_every_h: float, least: int | None = None) -> Spot:
    """The training of a tier on spot machines that are lost every so many hours on average."""
    return Spot(
        work_s=training_core_s(tier.clips, measured) / tier.workers,
        workers=tier.workers,
        least=tier.workers if least is None else least,
        lost_every_s=lost_every_h * HOUR_S,
        checkpoint_s=60.0,
        restart_s=120.0,
        replace_s=300.0,
    )


def bottleneck(tier: Tier, measured: Measured) -> tuple[str, dict[str, float]]:
    """What takes longest of a night with news, in hours: looking, encoding or training; and all three."""
    hours = {
        "looking whether anything changed": tier.clips * measured.file_s / HOUR_S,
        "encoding": tier.clips * tier.new_share * measured.clip_core_s / tier.cores / HOUR_S,
        "training": training_core_s(tier.clips, measured) / tier.workers / HOUR_S,
    }
    return max(hours, key=lambda name: hours[name]), hours


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--bench", type=Path, metavar="FILE", help="of `make bench BENCH='--json FILE'`")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    measured = Measured.of(given.bench) if given.bench else Measured()
    for line in [*service_table(measured, given.seed), "", *spot_table(measured, given.seed), "",
                 *cost_table(measured, given.seed)]:  # fmt: skip
        print(line)


def service_table(measured: Measured, seed: int) -> Iterator[str]:
    """A day of each tier."""
    yield "| A day of | replicas start within | 95 % wait less than | 99 % | refused | replica hours |"
    yield "|---|---|---|---|---|---|"
    for tier in TIERS:
        for start_s in (measured.replica_start_s, 5 * measured.replica_start_s):
            served = day(tier, measured, start_s=start_s, seed=seed)
            yield (
                f"| {tier.name}, {tier.least} to {tier.most} replicas | {start_s:.0f} s | {served.wait_s(0.95):.1f} s "
                f"| {served.wait_s(0.99):.1f} s | {served.refused_share:.2%} | {served.replica_s / HOUR_S:,.0f} |"
            )


def spot_table(measured: Measured, seed: int) -> Iterator[str]:
    """A training of each tier on spot machines."""
    yield "| Training of | without losses | a machine lost every | takes | machine hours | losses |"
    yield "|---|---|---|---|---|---|"
    for tier in TIERS:
        for lost_every_h in (24.0, 4.0):
            for least in dict.fromkeys((tier.workers, max(1, tier.workers // 2))):
                spot = spot_of(tier, measured, lost_every_h=lost_every_h, least=least)
                limit_s = 20 * spot.work_s
                runs = [train(spot, seed + k, longest_s=limit_s) for k in range(20)]
                took, paid, lost = np.median([(r.took_s, r.machine_s, r.losses) for r in runs], axis=0)
                ends = f"{took / HOUR_S:,.1f} h" if took < limit_s else "more than 20 times as long"
                yield (
                    f"| {tier.name}, {tier.workers} workers, at least {least} | {spot.work_s / HOUR_S:,.1f} h "
                    f"| {lost_every_h:.0f} h | {ends} | {paid / HOUR_S:,.0f} | {lost:.0f} |"
                )


def cost_table(measured: Measured, seed: int) -> Iterator[str]:
    """A month of nights of each tier, and what takes longest of one."""
    yield "| A month of | every night | with a cause | of that looking, encoding, training | the night's bottleneck |"
    yield "|---|---|---|---|---|"
    for tier in TIERS:
        always = month(tier, measured, only_with_cause=False, seed=seed)
        caused = month(tier, measured, only_with_cause=True, seed=seed)
        name, hours = bottleneck(tier, measured)
        yield (
            f"| {tier.name} | {always.total_h:,.0f} core h | {caused.total_h:,.0f} core h | {caused.looking_h:,.0f}, "
            f"{caused.encoding_h:,.0f}, {caused.training_h:,.0f} | {name}, {hours[name]:,.1f} h |"
        )


if __name__ == "__main__":
    main()
