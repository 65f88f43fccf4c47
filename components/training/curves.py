"""The plot of a training: losses and held-out scores by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

HELD_OUT = "held_out_"


def training_curves(history: Sequence[dict[str, Any]]) -> Figure:
    """Two panels over epochs: the loss and its parts; the scores on the calibration split, of which CCC may be < 0."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [record["epoch"] + 1 for record in history]
    for name in sorted({key for record in history for key in record} - {"epoch", "learning_rate"}):
        axes = scores if name.startswith(HELD_OUT) else losses
        label = name.removeprefix(HELD_OUT).replace("_", " ")
        axes.plot(epochs, [record.get(name) for record in history], label=label, lw=2.5 if name == "loss" else 1.2)
    lowest = min([0.0, *(value for record in history for name, value in record.items() if name.startswith(HELD_OUT))])
    losses.set(xlabel="epoch", ylabel="training loss", title="Loss (with random modality dropout)")
    scores.set(xlabel="epoch", ylim=(lowest, 1), title="Held-out subjects, averaged weights")
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    return figure
