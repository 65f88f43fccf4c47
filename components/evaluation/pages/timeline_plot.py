"""One clip over time as a picture: true and detected episodes, contradictions, the posterior, mood and presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.evaluation.disagreement import KIND
from components.evaluation.episodes.events import true_episodes
from components.inference.contradiction import ContradictionSpan
from components.inference.episodes import Episode, runs
from components.inference.scoring import Scored
from components.runtime.pages.drawing import (
    BLUE,
    ORANGE,
    RED,
    class_legend,
    contradiction_curve,
    episode_bars,
    figure_of,
    png,
    probability_bands,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def timeline(
    case: Case,
    scored: Scored,
    episodes: Sequence[Episode],
    spans: Sequence[ContradictionSpan],
    classes: Sequence[str],
    *,
    threshold: float,
) -> bytes:
    """The picture of one clip as PNG.

    Args:
        episodes: found; spans: contradictions found.
        threshold: of the contradiction score.
    """
    end_s = case.steps / case.rate_hz
    names = list(case.masks)
    truth = true_episodes(case, classes)
    conflicts, mood = scored.moments is not None, scored.step_valence_arousal
    heights = [
        0.8,
        2.4,
        *([0.85] if conflicts else []),
        *([0.85] if mood is not None else []),
        0.2 + 0.17 * len(names),
    ]
    with style():
        figure, axes = figure_of(9.4, 0.5 + 0.92 * sum(heights), nrows=len(heights), sharex=True, height_ratios=heights)
        rows = iter(axes)
        strips, bands = next(rows), next(rows)
        for row, items in ((1, truth), (0, episodes)):
            bars = ((item.onset_s, item.offset_s, item.emotion) for item in items)
            episode_bars(strips, row, bars, classes, end_s=end_s)
        strips.set_yticks([1, 0], ["truth", "found"])
        strips.set(ylim=(-0.5, 1.5))
        edges_s = np.repeat(np.arange(case.steps + 1) / case.rate_hz, 2)[1:-1]
        posterior = np.where(case.valid[:, None], scored.step_posterior, 0.0)
        probability_bands(bands, edges_s, posterior, classes, label="posterior")
        if conflicts:
            _contradiction(next(rows), case, scored, spans, threshold)
        if mood is not None:
            _mood(next(rows), case, mood)
        presence = next(rows)
        _presence(presence, case.masks, case.rate_hz)
        presence.set(xlim=(0, end_s), xlabel="seconds")
        for axis in (strips, presence):
            axis.tick_params(axis="y", length=0)
            axis.spines[["left"]].set_visible(False)
        strips.spines[["bottom"]].set_visible(False)
        strips.tick_params(axis="x", length=0)
        likely = [name for k, name in enumerate(classes) if scored.step_posterior[case.valid, k].max(initial=0) > 0.15]
        told_of = {item.emotion for items in (truth, episodes) for item in items}
        class_legend(bands, [name for name in classes if name in likely or name in told_of], classes)
        strips.set_title(_headline(case, scored, classes))
        figure.align_ylabels()
        return png(figure)


def _contradiction(
    axis: Axes, case: Case, scored: Scored, spans: Sequence[ContradictionSpan], threshold: float
) -> None:
    """The score of every moment, the spans beyond the threshold, and what was planted as a frame."""
    centres_s = (np.arange(case.steps) + 0.5) / case.rate_hz
    times = ((span.onset_s, span.offset_s) for span in spans)
    contradiction_curve(axis, centres_s, scored.step_contradiction, times, threshold=threshold)
    for span in spans:
        words = ", ".join(f"{name} {span.says[name][0]}" for name in span.pair)
        left = min(span.onset_s, 0.62 * case.steps / case.rate_hz)
        axis.text(left, 1.05, words, fontsize=7.5, color=RED, va="bottom")
    for planted in case.planted:
        if planted.kind == KIND:
            start_s, end_s = planted.start_s or 0.0, min(planted.end_s or np.inf, case.steps / case.rate_hz)
            axis.plot([start_s, end_s], [0.03, 0.03], color=ORANGE, lw=4, solid_capstyle="butt")
            axis.text(
                start_s + 0.03, 0.09, f"planted: {planted.modality} {planted.emotion}", fontsize=7.5, color=ORANGE
            )


def _mood(axis: Axes, case: Case, mood: NDArray[np.float32]) -> None:
    """Valence and arousal; the clip's label, where there is one, as dotted lines."""
    centres_s = (np.arange(case.steps) + 0.5) / case.rate_hz
    shown = np.where(case.valid[:, None], mood, np.nan)
    axis.axhline(0, color="#d5dbe1", lw=0.8)
    for column, (name, shade) in enumerate((("valence", BLUE), ("arousal", ORANGE))):
        axis.plot(centres_s, shown[:, column], color=shade, lw=1.4, label=name)
        if np.isfinite(case.valence_arousal[column]):
            axis.axhline(case.valence_arousal[column], color=shade, lw=0.9, ls=":")
    axis.set(ylim=(-1, 1), yticks=[-1, 0, 1], ylabel="mood")
    axis.legend(loc="upper left", bbox_to_anchor=(1.005, 1.05), fontsize=8, handlelength=1.0)


def _presence(axis: Axes, masks: Mapping[str, NDArray[np.bool_]], rate_hz: float) -> None:
    names = list(reversed(list(masks)))
    for row, name in enumerate(names):
        for value, first, last in runs(masks[name].astype(np.int64)):
            if value:
                axis.barh(row, (last - first) / rate_hz, left=first / rate_hz, height=0.55, color="#829ab1")
    axis.set_yticks(range(len(names)), names)
    axis.set(ylim=(-0.6, len(names) - 0.4))


def _headline(case: Case, scored: Scored, classes: Sequence[str]) -> str:
    label = classes[case.clip_label] if case.clip_label >= 0 else "unlabelled"
    answer = int(scored.clip_posterior.argmax())
    words = f"{case.clip_id}   truth {label}, answer {classes[answer]} ({scored.clip_posterior[answer]:.2f})"
    planted = sorted({planted.kind.replace("_", " ") for planted in case.planted})
    return words + (f"   planted: {', '.join(planted)}" if planted else "")
