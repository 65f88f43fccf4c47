"""The plot of an ablation: the distance of each row from the default, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.ablation.figures import HEADLINE
from components.runtime.pages.drawing import BLUE, INK, ORANGE, png, style

GREY, GRID = "#9fb3c8", "#eef1f4"
BETTER, WORSE = "#1f7a4d", "#b42318"


def forest(table: Sequence[Mapping[str, Any]], *, confidence: float) -> bytes:
    """Macro-F1 of every row minus the default's, paired by person, as PNG.

    A point is grey where the interval includes 0, green or red where it does not; the short bar below it is one
    standard deviation over the seeds to either side. On the right stands the row's own macro-F1. Baselines that lie
    far below are cut off with an arrow, so that the others remain distinguishable.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in table[1:] if row["minus_default"][HEADLINE]["value"] is not None]
    rows.sort(key=lambda row: (row["kind"] != "trained", -row["minus_default"][HEADLINE]["value"]))
    left, right = _limits(rows)
    with style():
        figure = Figure(figsize=(9.2, 1.5 + 0.3 * max(1, len(rows))))
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        axis.axvline(0, color=INK, lw=1)
        for place, row in enumerate(rows):
            _draw(axis, place, row, left)
        own = table[0]["figures"][HEADLINE]["value"]
        axis.set_yticks(range(len(rows)), [row["name"].replace("_", " ") for row in rows])
        for label, row in zip(axis.get_yticklabels(), rows, strict=True):
            label.set_color(INK if row["kind"] == "trained" else "#7b8794")
        axis.set(xlim=(left, right), ylim=(len(rows) - 0.4, -0.8))
        axis.set_xlabel(f"macro-F1 minus the default's ({own:.3f}), {confidence:.0%} interval over people")
        axis.text(1.11, -0.6, "macro-F1", transform=axis.get_yaxis_transform(), ha="right", fontsize=8.5, color=INK)
        for place, row in enumerate(rows):
            value = row["figures"][HEADLINE]["value"]
            axis.text(1.11, place, f"{value:.3f}", transform=axis.get_yaxis_transform(), ha="right", va="center",
                      fontsize=8.5, color="#52606d")  # fmt: skip
        axis.grid(axis="x", color=GRID)
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
        return png(figure)


def _limits(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Wide enough for all but the rows that are far worse than the typical one."""
    differences = [row["minus_default"][HEADLINE] for row in rows]
    lows = sorted(-(entry["value"] if entry["low"] is None else entry["low"]) for entry in differences) or [0.0]
    highs = [entry["value"] if entry["high"] is None else entry["high"] for entry in differences] or [0.0]
    reach = max(0.02, 3 * lows[len(lows) // 2])
    right = max(0.01, *highs) * 1.15
    return -min(max(lows[-1] * 1.05, 0.01), reach), right


def _draw(axis: Any, place: int, row: Mapping[str, Any], left: float) -> None:
    difference = row["minus_default"][HEADLINE]
    value, low, high = difference["value"], difference["low"], difference["high"]
    shade = GREY
    if low is not None and high is not None:
        shade = BETTER if low > 0 else WORSE if high < 0 else GREY
    if value < left:
        text = f"◀ {value:+.2f}"
        axis.annotate(text, (left, place), (3, 0), textcoords="offset points", va="center", fontsize=8.5, color=shade)
        return
    if low is not None and high is not None:
        axis.plot([max(low, left), high], [place, place], color=shade, lw=2.2, solid_capstyle="butt")
    if difference["seed_sd"] is not None:
        spread = [value - difference["seed_sd"], value + difference["seed_sd"]]
        axis.plot(spread, [place + 0.24] * 2, color=ORANGE, lw=1.4, alpha=0.8, solid_capstyle="butt")
    axis.plot(
        [value], [place], "o" if row["kind"] == "trained" else "D", color=shade if shade != GREY else BLUE, ms=5.5
    )
