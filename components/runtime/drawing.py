"""How every picture of the project looks: one colour per emotion, one style, drawn off screen. Equal figures give equal
bytes: no dates, no software names, no random order."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def style(**more: Any) -> AbstractContextManager[Any]:
    """Matplotlib's settings for every picture, while it is drawn."""
    import matplotlib as mpl

    settings: Any = {**STYLE, **more}
    return mpl.rc_context(settings)


def figure_of(width: float, height: float, **subplots: Any) -> tuple[Figure, Any]:
    """A figure of a size in inches, off screen, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(**subplots)
