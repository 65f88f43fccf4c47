"""An answer as a picture: its episodes, the probability of each emotion over time, and where modalities contradict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.runtime.drawing import FAINT, INK, colour, figure_of, style
from components.serving.schemas import Answer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, ROW_IN = 9.4, 0.9
RED = "#c8352b"
LIKELY = 0.08  # a class that is never more probable has no place in the legend
LETTERS_S = 0.012  # share of the clip that a letter of an episode's name takes


def figure(answer: Answer) -> Figure:
    """The clip over time, drawn off screen; a notebook shows it, and `savefig` writes it.

    From the top: episodes, the posterior of each moment, and, where the modalities can be compared, how much they
    contradict each other, with the spans beyond the threshold.
    """
    classes = tuple(answer.posterior)
    compared = any(moment.contradiction is not None for moment in answer.timeline)
    heights = [0.45, 2.4, *([0.8] if compared else [])]
    with style():
        drawn, axes = figure_of(
            WIDTH_IN, 0.6 + ROW_IN * sum(heights), nrows=len(heights), sharex=True, height_ratios=heights
        )
        _episodes(axes[0], answer, classes)
        _posterior(axes[1], answer, classes)
        if compared:
            _contradiction(axes[2], answer)
        axes[-1].set(xlim=(0, max(answer.clip.duration_s, 1e-3)), xlabel="seconds")
        sure = "" if answer.confidence is None else f" ({answer.confidence:.0%})"
        axes[0].set_title(f"{answer.clip.name}: {answer.emotion or 'no answer'}{sure}")
        drawn.align_ylabels()
        drawn.tight_layout()
    return drawn


def _episodes(axis: Axes, answer: Answer, classes: Sequence[str]) -> None:
    for episode in answer.episodes:
        length_s = episode.offset_s - episode.onset_s
        shade = colour(episode.emotion, classes)
        axis.barh(0, length_s, left=episode.onset_s, height=0.8, color=shade, edgecolor="white", linewidth=1)
        if length_s > LETTERS_S * answer.clip.duration_s * len(episode.emotion):
            middle_s = episode.onset_s + length_s / 2
            axis.text(middle_s, 0, episode.emotion, ha="center", va="center", fontsize=8, color="white", weight="bold")
    axis.set(ylim=(-0.5, 0.5), yticks=[0])
    axis.set_yticklabels(["episodes"])
    axis.tick_params(axis="both", length=0)
    axis.spines[["left", "bottom"]].set_visible(False)


def _posterior(axis: Axes, answer: Answer, classes: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    edges_s = np.array([time for moment in answer.timeline for time in (moment.start_s, moment.end_s)])
    rows = np.array([[moment.posterior.get(name, 0.0) for name in classes] for moment in answer.timeline])
    if classes:
        shades = [colour(name, classes) for name in classes]
        axis.stackplot(edges_s, np.repeat(rows, 2, axis=0).T, colors=shades, linewidth=0)
        likely = [name for index, name in enumerate(classes) if rows[:, index].max(initial=0.0) > LIKELY]
        handles = [Patch(color=colour(name, classes), label=name) for name in likely]
        axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=1.0)
    else:
        axis.text(0.5, 0.5, answer.outside_training.words, ha="center", transform=axis.transAxes, wrap=True)
    axis.set(ylim=(0, 1), yticks=[0, 0.5, 1], ylabel="probability")


def _contradiction(axis: Axes, answer: Answer) -> None:
    centres_s = [(moment.start_s + moment.end_s) / 2 for moment in answer.timeline]
    scores = [np.nan if moment.contradiction is None else moment.contradiction for moment in answer.timeline]
    axis.plot(centres_s, scores, color=INK, lw=1.2)
    axis.axhline(answer.contradiction.threshold, color=RED, lw=0.8, ls=(0, (4, 3)))
    for span in answer.contradictions:
        axis.axvspan(span.onset_s, span.offset_s, color=RED, alpha=0.22, lw=0)
    axis.grid(color=FAINT, axis="y")
    axis.set(ylim=(0, 1.02), yticks=[0, 1], ylabel="contra-\ndiction")
