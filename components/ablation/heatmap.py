"""The heat map of a transfer table: UAR of every cell, as unknown recordings and adapted to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.ablation.answers import ADAPTED
from components.ablation.transfer import UNKNOWN, Transfer
from components.runtime.pages.drawing import FAINT, INK, figure_of, png, style

TITLES = {UNKNOWN: "as unknown recordings", ADAPTED: "adapted, without labels"}


def heat_map(made: Transfer) -> bytes:
    """Two panels side by side as PNG: rows are trained on, columns tested; colours from chance to 1."""
    import matplotlib as mpl

    rows, columns = made.rows, made.datasets
    chance = 1 / made.classes
    shades = mpl.colormaps["YlGnBu"].with_extremes(bad="white")
    with style():
        wide = 1.5 * len(columns)
        figure, axes = figure_of(2 * wide + 3.2, 0.72 * len(rows) + 1.5, ncols=2, sharey=True)
        for axis, kind in zip(axes, TITLES, strict=True):
            values = np.array([[_value(made, row, column, kind) for column in columns] for row in rows])
            picture = axis.imshow(values, cmap=shades, vmin=chance, vmax=1.0, aspect="auto")
            _cells(axis, made, kind, values, dark=(1 + chance) / 2)
            axis.set_title(TITLES[kind])
            axis.set_xticks(range(len(columns)), columns)
            axis.set_yticks(range(len(rows)), rows)
            axis.axhline(len(rows) - 1.5, color=INK, lw=1)
            axis.set_xlabel("tested on")
            axis.tick_params(length=0)
        axes[0].set_ylabel("trained on")
        figure.tight_layout()
        bar = figure.colorbar(picture, ax=list(axes), fraction=0.03, pad=0.02)
        bar.set_label(f"UAR, from chance ({chance:.2f}) to 1")
        return png(figure)


def _value(made: Transfer, row: str, column: str, kind: str) -> float:
    cell = made.cell(row, column)
    value = None if cell is None else cell[kind]["uar"]["value"]
    return float("nan") if value is None else float(value)


def _cells(axis: Any, made: Transfer, kind: str, values: Any, *, dark: float) -> None:
    """The figure of each cell with its interval; a frame around those whose people are of the dataset trained on."""
    import matplotlib.patches

    for y, row in enumerate(made.rows):
        for x, column in enumerate(made.datasets):
            cell = made.cell(row, column)
            if cell is None or np.isnan(values[y, x]):
                axis.text(x, y, "–", ha="center", va="center", color=FAINT)
                continue
            own = cell[kind]["uar"]
            shade = "white" if values[y, x] > dark else INK
            axis.text(x, y - 0.13, f"{own['value']:.2f}", ha="center", va="center", color=shade, fontweight="bold")
            if own["low"] is not None:
                axis.text(x, y + 0.2, f"{own['low']:.2f} to {own['high']:.2f}", ha="center", va="center", color=shade,
                          fontsize=7.5)  # fmt: skip
            if row == column:
                axis.add_patch(
                    matplotlib.patches.Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, ec=shade, lw=1, ls=":")
                )
