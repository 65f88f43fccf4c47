"""The result of a benchmark: rows of two figures and their ratio, as a Markdown table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles of a sample."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one number."""
        low, median, high = np.quantile(list(values), [0.25, 0.5, 0.75]).tolist()
        return cls(median=median, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One side of a comparison: what ran, its median (seconds, or bytes where the row is of memory), a word on it."""

    name: str
    amount: float
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison.

    Attributes:
        what: what is timed, with its sizes.
        unit: what the amounts are of: "step", "training" …
        baseline, ours: the two sides.
        kind: how `ratio` reads: "cost" is ours / baseline, "gain" is baseline / ours.
        quantity: what is compared.
        ratio: over the pairs of neighbouring measurements.
        pairs: how many.
        goal: an upper bound of a cost, a lower bound of a gain; None where the figure is for information.
        note: what a reader must know to judge the figure.
    """

    what: str
    unit: str
    baseline: Figure
    ours: Figure
    kind: Literal["cost", "gain"]
    ratio: Spread
    pairs: int
    quantity: Literal["time", "memory"] = "time"
    goal: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without one."""
        if self.goal is None:
            return None
        return self.ratio.median <= self.goal if self.kind == "cost" else self.ratio.median >= self.goal


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A comparison that this machine cannot make, and why."""

    what: str
    reason: str


Outcome = Comparison | Skipped

MIB = 1 << 20
HEADING = (
    "| What | Baseline | Ours | Ratio: median [quartiles], pairs | Goal |",
    "|---|---|---|---|---|",
)


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a Markdown table, notes below it."""
    lines = list(HEADING)
    notes: list[str] = []
    for outcome in outcomes:
        if isinstance(outcome, Skipped):
            lines.append(f"| {outcome.what} | – | – | skipped: {outcome.reason} | – |")
            continue
        mark = ""
        if outcome.note:
            notes.append(outcome.note)
            mark = f" ({len(notes)})"
        cells = (
            outcome.what + mark,
            _side(outcome.baseline, outcome),
            _side(outcome.ours, outcome),
            _ratio(outcome),
            _goal(outcome),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *(f"\n({place}) {note}" for place, note in enumerate(notes, start=1))])


def to_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The outcomes as JSON values; `met` stands beside each goal."""
    return [
        {**asdict(outcome), "met": outcome.met} if isinstance(outcome, Comparison) else asdict(outcome)
        for outcome in outcomes
    ]


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them, three digits."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def _side(figure: Figure, row: Comparison) -> str:
    detail = f", {figure.detail}" if figure.detail else ""
    amount = duration(figure.amount) if row.quantity == "time" else f"{figure.amount / MIB:,.0f} MiB"
    return f"{figure.name}: {amount} per {row.unit}{detail}"


def _ratio(row: Comparison) -> str:
    digits = 3 if row.ratio.median < 2 else 1
    low, median, high = (f"{value:.{digits}f}" for value in (row.ratio.low, row.ratio.median, row.ratio.high))
    reads = f"× the {row.quantity}" if row.kind == "cost" else "× as fast"
    return f"{median}{reads} [{low}, {high}], {row.pairs}"


def _goal(row: Comparison) -> str:
    if row.goal is None:
        return "–"
    bound = f"≤ {row.goal:.2f}×" if row.kind == "cost" else f"≥ {row.goal:g}×"
    return f"{bound}: {'met' if row.met else 'missed'}"
