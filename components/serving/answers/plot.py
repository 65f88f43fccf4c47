"""An answer as a picture: its episodes, the probability of each emotion over time, and where modalities contradict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.runtime.pages.drawing import (
    FAINT,
    class_legend,
    contradiction_curve,
    episode_bars,
    figure_of,
    probability_bands,
    style,
)
from components.serving.answers.schemas import Answer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, ROW_IN = 9.4, 0.9
LIKELY = 0.08  # a class that is never more probable has no place in the legend
PROBABILITY = "probability"


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
    bars = ((episode.onset_s, episode.offset_s, episode.emotion) for episode in answer.episodes)
    episode_bars(axis, 0, bars, classes, end_s=answer.clip.duration_s)
    axis.set(ylim=(-0.5, 0.5), yticks=[0])
    axis.set_yticklabels(["episodes"])
    axis.tick_params(axis="both", length=0)
    axis.spines[["left", "bottom"]].set_visible(False)


def _posterior(axis: Axes, answer: Answer, classes: Sequence[str]) -> None:
    if not classes:
        axis.text(0.5, 0.5, answer.outside_training.words, ha="center", transform=axis.transAxes, wrap=True)
        axis.set(ylim=(0, 1), yticks=[0, 0.5, 1], ylabel=PROBABILITY)
        return
    edges_s = [time for moment in answer.timeline for time in (moment.start_s, moment.end_s)]
    rows = np.array([[moment.posterior.get(name, 0.0) for name in classes] for moment in answer.timeline])
    probability_bands(axis, edges_s, rows, classes, label=PROBABILITY)
    likely = rows.max(axis=0, initial=0.0) > LIKELY
    class_legend(axis, [name for name, shown in zip(classes, likely, strict=True) if shown], classes)


def _contradiction(axis: Axes, answer: Answer) -> None:
    centres_s = [(moment.start_s + moment.end_s) / 2 for moment in answer.timeline]
    scores = [np.nan if moment.contradiction is None else moment.contradiction for moment in answer.timeline]
    spans = ((span.onset_s, span.offset_s) for span in answer.contradictions)
    contradiction_curve(axis, centres_s, scores, spans, threshold=answer.contradiction.threshold)
    axis.grid(color=FAINT, axis="y")
