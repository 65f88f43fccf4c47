"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation import metrics
from components.evaluation.coverage import curve
from components.evaluation.measure import Sample, Scores
from components.runtime.pages.drawing import BLUE, INK, ORANGE, RED, colour, figure_of, png, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reliability(before: Sample, after: Sample, *, bins: int, level: str) -> bytes:
    """Confidence against accuracy before and after temperature scaling, over where the confidences lie.

    A point stands for an equal share of the items (equal-mass bins), so none is drawn from a handful; its bar is the
    95 % Wilson interval of the accuracy (Wilson 1927). Of very many items some are drawn (`Sample.thinned`).
    """
    before, after = before.thinned(), after.thinned()
    with style():
        figure, grid = figure_of(9.0, 4.9, ncols=2, nrows=2, sharex=True, sharey="row", height_ratios=[3.6, 1])
        for column, (sample, title) in enumerate(((before, "Before calibration"), (after, "After calibration"))):
            curve, counts = grid[0][column], grid[1][column]
            by_mass = metrics.mass_bins(sample.posterior, sample.truth, bins)
            confidence, accuracy = by_mass.confidence / by_mass.count, by_mass.correct / by_mass.count
            low, high = _wilson(by_mass.correct, by_mass.count)
            curve.plot([0, 1], [0, 1], color="#9aa5b1", lw=1, ls=(0, (4, 3)), zorder=0)
            curve.fill_between(confidence, confidence, accuracy, color="#f6dcc3", zorder=0, lw=0)
            curve.vlines(confidence, low, high, color="#9fb3c8", lw=2.2, zorder=1)
            curve.plot(confidence, accuracy, "o-", color=BLUE, lw=1.3, ms=5, zorder=3)
            curve.set(xlim=(0, 1), ylim=(0, 1))
            width = float(metrics.ece(metrics.confidence_bins(sample.posterior, sample.truth, bins)))
            curve.set_title(f"{title}: ECE {width:.3f}, equal-mass {float(metrics.ece(by_mass)):.3f}")
            sides = sample.posterior.argmax(-1) == sample.truth
            edges = np.linspace(0, 1, 21)
            top = sample.posterior.max(-1)
            counts.hist([top[sides], top[~sides]], bins=edges, stacked=True, color=[BLUE, ORANGE], rwidth=0.9)
            counts.set(xlabel=f"confidence of the {level}")
            for axis in (curve, counts):
                axis.grid(color="#eef1f4")
                axis.set_axisbelow(True)
        grid[0][0].set_ylabel("share answered right")
        grid[1][0].set_ylabel(f"{level}s")
        _named(grid[1][1], [(BLUE, "right"), (ORANGE, "wrong")])
        figure.tight_layout()
        return png(figure)


def risk_coverage(sample: Sample, figures: Mapping[str, Any], *, level: str) -> bytes:
    """The share of wrong answers when only the surest are kept, against how many are; bars are the intervals of the
    table of `coverage_figures`."""
    kept = curve(sample)
    with style():
        figure, axis = figure_of(6.4, 3.4)
        axis.axhline(kept.risk[-1], color="#9aa5b1", lw=1, ls=(0, (4, 3)), label="if confidence were of no use")
        axis.plot(kept.coverage, kept.risk, color=BLUE, lw=1.6, label="wrong answers")
        for share, row in figures["surest"].items():
            wrong = row["wrong"]
            if wrong["low"] is not None:
                axis.vlines(float(share), wrong["low"], wrong["high"], color="#9fb3c8", lw=3.2, zorder=0)
            axis.plot(float(share), wrong["value"], "o", color=BLUE, ms=5)
        axis.set(
            xlim=(0, 1.02), xlabel=f"share of {level}s that are kept, the surest first", ylabel="share of wrong answers"
        )
        axis.set_ylim(bottom=0)
        axis.grid(color="#eef1f4")
        axis.set_axisbelow(True)
        axis.legend(loc="best", fontsize=8)
        figure.tight_layout()
        return png(figure)


def _named(axis: Axes, entries: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=shade, label=name) for shade, name in entries]
    axis.legend(handles=handles, loc="upper left", fontsize=8, handlelength=1.0)


def _wilson(hits: NDArray[np.float64], count: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 95 % Wilson interval of shares."""
    z2 = 1.96**2
    centre = (hits + z2 / 2) / (count + z2)
    half = 1.96 / (count + z2) * np.sqrt(hits * (count - hits) / count + z2 / 4)
    return centre - half, centre + half


def confusion(sample: Sample, classes: Sequence[str]) -> bytes:
    """The confusion matrix of the classes that occur, as shares of the truth with counts."""
    counts = sample.confusion()
    occurring = np.nonzero(counts.sum(0) + counts.sum(1))[0]
    counts = counts[np.ix_(occurring, occurring)]
    names = [classes[int(index)] for index in occurring]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.nan_to_num(counts / counts.sum(1, keepdims=True))
    with style(**{"axes.spines.left": False, "axes.spines.bottom": False}):
        side = 1.7 + 0.62 * len(names)
        figure, axis = figure_of(side + 0.6, side)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row in range(len(names)):
            for column in range(len(names)):
                if counts[row, column]:
                    dark = shares[row, column] > 0.55
                    text = f"{100 * shares[row, column]:.0f}%\n{counts[row, column]}"
                    shade = "white" if dark else INK
                    axis.text(column, row, text, ha="center", va="center", fontsize=7.5, color=shade)
        axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.tick_params(length=0)
        axis.set(xlabel="answer", ylabel="truth")
        return png(figure)


def per_class(figures: Mapping[str, Mapping[str, Any]], classes: Sequence[str], *, level: str) -> bytes:
    """F1 of each emotion with its interval, best first, in the emotion's colour."""
    rows = sorted(figures.items(), key=lambda row: -(row[1]["f1"]["value"] or 0.0))
    with style():
        figure, axis = figure_of(8.2, 0.9 + 0.36 * len(rows))
        for place, (name, row) in enumerate(rows):
            value, low, high = (row["f1"][part] for part in ("value", "low", "high"))
            axis.barh(place, value or 0.0, color=colour(name, classes), height=0.62)
            if low is not None:
                axis.plot([low, high], [place, place], color="#52606d", lw=1.4)
                axis.plot([low, high], [place, place], "|", color="#52606d", ms=7)
            shares = f"recall {row['recall'] or 0.0:.2f}   precision {row['precision'] or 0.0:.2f}"
            text = f"{value or 0.0:.2f}   {shares}   {row['items']} {level}s"
            axis.text(1.03, place, text, va="center", fontsize=8.5, color="#52606d")
        axis.set_yticks(range(len(rows)), [name for name, _ in rows])
        axis.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="F1, with its interval")
        axis.grid(axis="x", color="#eef1f4")
        axis.set_axisbelow(True)
        return png(figure)


def subsets(table: Sequence[tuple[str, Scores]], *, level: str) -> bytes:
    """Macro-F1 of each pattern of present modalities with its interval; the majority baseline as a line."""
    rows = [(name, scores) for name, scores in table if name != "majority"]
    floor = next((scores.macro_f1.value for name, scores in table if name == "majority"), None)
    with style():
        figure, axis = figure_of(8.2, 1.1 + 0.34 * len(rows))
        for place, (name, scores) in enumerate(rows):
            value = scores.macro_f1.value or 0.0
            shade = INK if place == 0 else ORANGE if name == "product_of_experts" else BLUE
            axis.barh(place, value, color=shade, height=0.62, alpha=1.0 if place == 0 else 0.8)
            right = value
            if scores.macro_f1.low is not None and scores.macro_f1.high is not None:
                axis.plot([scores.macro_f1.low, scores.macro_f1.high], [place, place], color="#9fb3c8", lw=3.2)
                axis.plot([scores.macro_f1.low, scores.macro_f1.high], [place, place], "|", color="#486581", ms=7)
                right = max(right, scores.macro_f1.high)
            axis.text(right + 0.012, place, f"{value:.2f}", va="center", fontsize=8.5)
            axis.text(1.13, place, f"{scores.items}", va="center", ha="right", fontsize=8.5, color="#7b8794")
        axis.text(1.13, -0.85, f"{level}s", ha="right", fontsize=8.5, color="#7b8794")
        if floor is not None:
            axis.axvline(floor, color=RED, lw=1, ls=(0, (4, 3)))
            axis.text(floor, -0.72, f" majority {floor:.2f}", color=RED, fontsize=8, va="bottom")
        axis.set_yticks(range(len(rows)), [_pattern_name(name) for name, _ in rows])
        axis.set(xlim=(0, 1.0), ylim=(len(rows) - 0.4, -0.7), xlabel=f"macro-F1 of the {level}s, with its interval")
        axis.grid(axis="x", color="#eef1f4")
        axis.set_axisbelow(True)
        return png(figure)


def _pattern_name(name: str) -> str:
    return {"product_of_experts": "product of experts"}.get(name, name.replace("+", " + "))


def contradiction(scores: NDArray[np.float64], planted: NDArray[np.bool_], threshold: float) -> bytes:
    """The scores of planted and of ordinary clips, and whether they are calibrated.

    The second picture is of ordinary clips only: a score of r promises that at most a share 1 − r of them reaches it,
    so the steps should keep near or below the line.
    """
    with style():
        figure, (spread, promise) = figure_of(9.4, 3.4, ncols=2, width_ratios=[1.5, 1])
        edges = np.linspace(0, 1, 21)
        kinds = [("no contradiction planted", ~planted, BLUE), ("contradiction planted", planted, ORANGE)]
        for name, chosen, shade in kinds:
            count = int(chosen.sum())
            if count:
                weights = np.full(count, 1 / count)
                label = f"{name} ({count})"
                spread.hist(scores[chosen], bins=edges, weights=weights, color=shade, alpha=0.6, label=label)
        spread.axvline(threshold, color=INK, lw=1, ls=(0, (4, 3)))
        spread.set(xlim=(0, 1), xlabel="contradiction score of the clip", ylabel="share of clips")
        spread.set_ylim(0, spread.get_ylim()[1] * 1.28)
        spread.text(threshold - 0.01, spread.get_ylim()[1] * 0.80, "threshold", fontsize=8, va="top", ha="right")
        spread.legend(loc="upper left", fontsize=8)
        ordinary = np.sort(scores[~planted])
        reached = np.array([(ordinary >= score).mean() for score in edges]) if ordinary.size else np.zeros(edges.size)
        promise.plot(edges, 1 - edges, color="#9aa5b1", lw=1, ls=(0, (4, 3)), label="promised at most")
        promise.step(edges, reached, where="post", color=BLUE, lw=1.6, label="measured")
        promise.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="ordinary clips that reach it")
        promise.legend(loc="upper right", fontsize=8)
        for axis in (spread, promise):
            axis.grid(color="#eef1f4")
            axis.set_axisbelow(True)
        figure.tight_layout()
        return png(figure)


def slices(figures: Mapping[str, Mapping[str, Any]]) -> bytes | None:
    """Accuracy by group with intervals; None where there is no group."""
    rows = [
        (key, value, scores["accuracy"], scores["subjects"])
        for key, group in figures.items()
        for value, scores in group["values"].items()
    ]
    if not rows:
        return None
    with style():
        figure, axis = figure_of(8.2, 0.9 + 0.32 * len(rows))
        for place, (_, _, accuracy, people) in enumerate(rows):
            value = accuracy["value"]
            if accuracy["low"] is not None:
                axis.plot(
                    [accuracy["low"], accuracy["high"]], [place, place], color="#9fb3c8", lw=4, solid_capstyle="round"
                )
            axis.scatter([value], [place], color=BLUE, s=34, zorder=3)
            axis.text(1.02, place, f"{value:.2f}   {people} people", va="center", fontsize=8.5, color="#52606d")
        axis.set_yticks(range(len(rows)), [f"{key}: {value}" for key, value, _, _ in rows])
        axis.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="accuracy, with its interval")
        axis.grid(axis="x", color="#eef1f4")
        return png(figure)
