"""The pictures of a report. Equal figures give equal bytes: no dates, no software names, no random order."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.evaluation import metrics
from components.evaluation.episodes import Episode
from components.evaluation.events import true_episodes
from components.evaluation.measure import Sample, Scores
from components.evaluation.scoring import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One colour an emotion, in every picture; chosen to differ in lightness too, so that they survive a grey print.
COLOURS: Mapping[str, str] = {
    "neutral": "#9aa5b1",
    "calm": "#7bb8c4",
    "happiness": "#f2b632",
    "sadness": "#3b6fb6",
    "anger": "#c8352b",
    "fear": "#6b3fa0",
    "disgust": "#4f8f3a",
    "surprise": "#ef7fb0",
    "other": "#6b5b4b",
}
SPARE = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#a6761d")
INK, FAINT, BLUE, ORANGE = "#1f2933", "#d5dbe1", "#2f6fb2", "#d9822b"
DPI = 110
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": "#8a95a1",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "figure.facecolor": "white",
    "legend.frameon": False,
}


def colour(name: str, classes: Sequence[str]) -> str:
    """The colour of a class."""
    return COLOURS.get(name, SPARE[list(classes).index(name) % len(SPARE)])


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes without metadata."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return stream.getvalue()


def _style(**more: Any) -> AbstractContextManager[Any]:
    import matplotlib as mpl

    settings: Any = {**STYLE, **more}
    return mpl.rc_context(settings)


def _figure(width: float, height: float, **subplots: Any) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(**subplots)


def reliability(before: Sample, after: Sample, *, bins: int, level: str) -> bytes:
    """Confidence against accuracy before and after temperature scaling, with how many items stand behind a point."""
    with _style():
        figure, axes = _figure(8.6, 3.9, ncols=2, sharey=True)
        for axis, sample, title in zip(axes, (before, after), ("Before calibration", "After calibration"), strict=True):
            found = metrics.confidence_bins(sample.posterior, sample.truth, bins)
            some = found.count > 0
            confidence = found.confidence[some] / found.count[some]
            accuracy = found.correct[some] / found.count[some]
            axis.plot([0, 1], [0, 1], color=FAINT, zorder=0)
            axis.vlines(
                confidence, np.minimum(confidence, accuracy), np.maximum(confidence, accuracy), color="#efc9a4", lw=5
            )
            axis.plot(confidence, accuracy, "-", color=BLUE, lw=1.2)
            axis.scatter(confidence, accuracy, s=14 + 220 * found.count[some] / found.count.sum(), color=BLUE, zorder=3)
            axis.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"confidence of the {level}", aspect="equal")
            axis.set_title(f"{title}: ECE {float(metrics.ece(found)):.3f}")
            axis.grid(color="#eef1f4")
            axis.set_axisbelow(True)
        axes[0].set_ylabel("share answered right")
        figure.tight_layout()
        return png(figure)


def confusion(sample: Sample, classes: Sequence[str]) -> bytes:
    """The confusion matrix of the classes that occur, as shares of the truth with counts."""
    counts = metrics.confusion(sample.truth, sample.posterior.argmax(-1).astype(np.int64), len(classes))
    occurring = np.nonzero(counts.sum(0) + counts.sum(1))[0]
    counts = counts[np.ix_(occurring, occurring)]
    names = [classes[int(index)] for index in occurring]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.nan_to_num(counts / counts.sum(1, keepdims=True))
    with _style(**{"axes.spines.left": False, "axes.spines.bottom": False}):
        side = 1.7 + 0.62 * len(names)
        figure, axis = _figure(side + 0.6, side)
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


def subsets(table: Sequence[tuple[str, Scores]], *, level: str) -> bytes:
    """Macro-F1 of each pattern of present modalities with its interval; the majority baseline as a line."""
    rows = [(name, scores) for name, scores in table if name != "majority"]
    floor = next((scores.macro_f1.value for name, scores in table if name == "majority"), None)
    with _style():
        figure, axis = _figure(8.2, 1.1 + 0.34 * len(rows))
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
            axis.axvline(floor, color="#c8352b", lw=1, ls=(0, (4, 3)))
            axis.text(floor, -0.72, f" majority {floor:.2f}", color="#c8352b", fontsize=8, va="bottom")
        axis.set_yticks(range(len(rows)), [_pattern_name(name) for name, _ in rows])
        axis.set(xlim=(0, 1.0), ylim=(len(rows) - 0.4, -0.7), xlabel=f"macro-F1 of the {level}s, with its interval")
        axis.grid(axis="x", color="#eef1f4")
        axis.set_axisbelow(True)
        return png(figure)


def _pattern_name(name: str) -> str:
    return {"product_of_experts": "product of experts"}.get(name, name.replace("+", " + "))


def contradiction(scores: NDArray[np.float64], planted: NDArray[np.bool_], threshold: float) -> bytes:
    """Where the contradiction scores of planted and of other clips lie."""
    with _style():
        figure, axis = _figure(8.2, 2.9)
        edges = np.linspace(0, 1, 26)
        kinds = (("no contradiction planted", ~planted, BLUE), ("contradiction planted", planted, ORANGE))
        for name, chosen, shade in kinds:
            share = np.full(int(chosen.sum()), 1 / max(1, int(chosen.sum())))
            axis.hist(
                scores[chosen], bins=edges, weights=share, color=shade, alpha=0.6, label=f"{name} ({chosen.sum()})"
            )
        axis.axvline(threshold, color=INK, lw=1, ls=(0, (4, 3)))
        axis.text(threshold, axis.get_ylim()[1], " threshold", fontsize=8, va="top")
        axis.set(xlim=(0, 1), xlabel="contradiction score", ylabel="share of clips")
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return png(figure)


def timeline(case: Case, scored: Scored, episodes: Sequence[Episode], classes: Sequence[str]) -> bytes:
    """One clip over time: truth, what was found, the posterior as bands, and which modality was there when."""
    steps, end_s = case.step_labels.size, case.step_labels.size / case.rate_hz
    names = list(case.masks)
    truth = true_episodes(case, classes)
    with _style():
        figure, (strips, bands, presence) = _figure(
            9.4, 3.5 + 0.16 * len(names), nrows=3, sharex=True, height_ratios=[0.75, 2.6, 0.2 + 0.17 * len(names)]
        )
        for row, items in ((1, truth), (0, episodes)):
            _strip(strips, row, items, classes, end_s)
        strips.set_yticks([1, 0], ["truth", "found"])
        strips.set(ylim=(-0.5, 1.5))
        edges = np.repeat(np.arange(steps + 1) / case.rate_hz, 2)[1:-1]
        layers = np.repeat(np.where(case.valid[:, None], scored.step_posterior, np.nan), 2, axis=0)
        shades = [colour(name, classes) for name in classes]
        bands.stackplot(edges, np.nan_to_num(layers).T, colors=shades, linewidth=0)
        bands.set(ylim=(0, 1), ylabel="posterior", yticks=[0, 0.5, 1])
        for row, name in enumerate(reversed(names)):
            for first, last in _spans(case.masks[name]):
                presence.barh(
                    row, (last - first) / case.rate_hz, left=first / case.rate_hz, height=0.55, color="#829ab1"
                )
        presence.set_yticks(range(len(names)), list(reversed(names)))
        presence.set(ylim=(-0.6, len(names) - 0.4), xlim=(0, end_s), xlabel="seconds")
        for axis in (strips, presence):
            axis.tick_params(axis="y", length=0)
            axis.spines[["left"]].set_visible(False)
        strips.spines[["bottom"]].set_visible(False)
        strips.tick_params(axis="x", length=0)
        shown = [
            name for k, name in enumerate(classes) if np.nanmax(layers[:, k]) > 0.15 or _occurs(name, truth, episodes)
        ]
        _legend(bands, shown, classes)
        strips.set_title(_headline(case, scored, classes))
        figure.align_ylabels()
        return png(figure)


def _strip(axis: Axes, row: int, items: Sequence[Episode], classes: Sequence[str], end_s: float) -> None:
    for item in items:
        shade = colour(item.emotion, classes)
        axis.barh(row, item.duration_s, left=item.onset_s, height=0.72, color=shade, edgecolor="white", linewidth=1)
        if item.duration_s > 0.012 * end_s * len(item.emotion):
            middle = item.onset_s + item.duration_s / 2
            axis.text(middle, row, item.emotion, ha="center", va="center", fontsize=8, color="white", fontweight="bold")


def _occurs(name: str, *lists: Sequence[Episode]) -> bool:
    return any(item.emotion == name for items in lists for item in items)


def _legend(axis: Axes, shown: Sequence[str], classes: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour(name, classes), label=name) for name in shown]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.005, 1.0), fontsize=8, handlelength=1.0)


def _headline(case: Case, scored: Scored, classes: Sequence[str]) -> str:
    label = classes[case.clip_label] if case.clip_label >= 0 else "unlabelled"
    answer = int(scored.clip_posterior.argmax())
    words = f"{case.clip_id}   truth {label}, answer {classes[answer]} ({scored.clip_posterior[answer]:.2f})"
    planted = sorted({planted.kind.replace("_", " ") for planted in case.planted})
    return words + (f"   planted: {', '.join(planted)}" if planted else "")


def _spans(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return list(zip(np.nonzero(edges == 1)[0].tolist(), np.nonzero(edges == -1)[0].tolist(), strict=True))


def slices(figures: Mapping[str, Mapping[str, Any]]) -> bytes | None:
    """Accuracy by group with intervals; None where there is no group."""
    rows = [
        (key, value, scores["accuracy"], scores["subjects"])
        for key, group in figures.items()
        for value, scores in group["values"].items()
    ]
    if not rows:
        return None
    with _style():
        figure, axis = _figure(8.2, 0.9 + 0.32 * len(rows))
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
