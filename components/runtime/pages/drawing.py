"""How every picture of the project looks: one colour per emotion, one style, drawn off screen. Equal figures give equal
bytes: no dates, no software names, no random order."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.runtime.pages.fonts import families, letters, missing_glyphs_said

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One colour per emotion, in every picture; chosen to differ in lightness too, so that they survive a grey print.
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
SPARE = (
    *("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#a6761d"),
    *("#2b8cbe", "#9c8b00", "#8c2d04", "#1f3a6e", "#5ab4ac", "#d6604d"),
)
INK, FAINT, BLUE, ORANGE, RED = "#1f2933", "#d5dbe1", "#2f6fb2", "#d9822b", "#c8352b"
LETTER = 0.012  # of the length of a clip: what a letter of an episode's name takes
DPI = 110
STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.edgecolor": "#8a95a1",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is a name
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
    with missing_glyphs_said():
        figure.savefig(stream, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return stream.getvalue()


@contextmanager
def style(**more: Any) -> Iterator[None]:
    """Matplotlib's settings for every picture, while it is drawn; characters that no font has are said as by `png`."""
    import matplotlib as mpl

    settings: Any = {**STYLE, "font.family": families(), **more}
    with mpl.rc_context(settings), missing_glyphs_said():
        yield


def figure_of(width: float, height: float, **subplots: Any) -> tuple[Figure, Any]:
    """A figure of a size in inches, off screen, and its axes. A notebook shows it where it is the result of a cell."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """pyplot shows its figures in notebooks; one made without it has to offer its picture."""

        def _repr_png_(self) -> bytes:
            return png(self)

    figure = ShownFigure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(**subplots)


def episode_bars(
    axis: Axes, row: float, episodes: Iterable[tuple[float, float, str]], classes: Sequence[str], *, end_s: float
) -> None:
    """A bar per episode (onset and offset in seconds, emotion), with its name where that fits; the clip ends at
    `end_s`."""
    for onset_s, offset_s, emotion in episodes:
        length_s, shade = offset_s - onset_s, colour(emotion, classes)
        axis.barh(row, length_s, left=onset_s, height=0.72, color=shade, edgecolor="white", linewidth=1)
        if length_s > LETTER * end_s * letters(emotion):
            middle_s = onset_s + length_s / 2
            axis.text(middle_s, row, emotion, ha="center", va="center", fontsize=8, color="white", fontweight="bold")


def probability_bands(
    axis: Axes, edges_s: ArrayLike, posterior: NDArray[np.floating], classes: Sequence[str], *, label: str
) -> None:
    """(T, K) probabilities over time, one above the other; `edges_s` holds the begin and end of each step (2 T,)."""
    layers = np.repeat(posterior, 2, axis=0)
    axis.stackplot(edges_s, layers.T, colors=[colour(name, classes) for name in classes], linewidth=0)
    axis.set(ylim=(0, 1), ylabel=label, yticks=[0, 0.5, 1])


def contradiction_curve(
    axis: Axes, centres_s: ArrayLike, scores: ArrayLike, spans: Iterable[tuple[float, float]], *, threshold: float
) -> None:
    """The score of each moment, the threshold, and the spans (onset, offset) beyond it."""
    axis.plot(centres_s, scores, color=INK, lw=1.2)
    axis.axhline(threshold, color=RED, lw=0.8, ls=(0, (4, 3)))
    for onset_s, offset_s in spans:
        axis.axvspan(onset_s, offset_s, color=RED, alpha=0.22, lw=0)
    axis.set(ylim=(0, 1.02), yticks=[0, 1], ylabel="contra-\ndiction")


def class_legend(axis: Axes, shown: Iterable[str], classes: Sequence[str]) -> None:
    """The colours of some classes, beside the axis."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colour(name, classes), label=name) for name in shown]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.005, 1.0), fontsize=8, handlelength=1.0)
