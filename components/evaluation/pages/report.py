"""The report as one HTML file: every figure and picture of an evaluation, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contracts.config import Evaluate
from components.contracts.findings import overlap_in_words, split_in_words
from components.evaluation.evaluate import Evaluation
from components.evaluation.failures import surest_mistakes
from components.evaluation.measure import MOST_ITEMS
from components.runtime.pages.templates import render as render_template

TEMPLATE = Path(__file__).parent / "report.html.j2"
ALT = {
    "subsets": "macro-F1 by present modalities",
    "per-class": "F1 by emotion",
    "confusion": "confusion matrix",
    "reliability-clip": "confidence against accuracy of clips",
    "reliability-step": "confidence against accuracy of steps",
    "risk-coverage": "wrong answers by share of answers kept",
    "contradiction": "contradiction scores",
    "slices": "accuracy by group",
}
AIMS = {
    "balanced": "macro-F1 and UAR, every class counting alike",
    "between": "all of these at once, a class counting in between",
    "accuracy": "accuracy and weighted F1, a class counting as often as training data show it",
}
SYNTHETIC_NOTE = (
    "The corpus “synthetic” is drawn and synthesised by this project. Scores on it show that the whole pipeline works "
    "and that the model can combine modalities over time; they are no evidence of how well it works on real people."
)


def notes_for(datasets: Sequence[str]) -> list[str]:
    """The limits of the figures, for the reader."""
    return [SYNTHETIC_NOTE] if "synthetic" in datasets else []


def thinned_notes(figures: Mapping[str, Any]) -> list[str]:
    """What is of some of very many items."""
    items = max(figures[level]["items"] for level in ("clip", "step") if level in figures)
    if items <= MOST_ITEMS:
        return []
    return [
        f"Bins of equal mass, the curve of risk and coverage and ranks of moments are of {MOST_ITEMS:,} of the "
        f"{items:,} labelled items, one from each of as many stretches."
    ]


def started_notes(figures: Mapping[str, Any]) -> list[str]:
    """What the training started from, and whose figures that may flatter."""
    started = figures.get("started_from")
    if started is None:
        return []
    return [f"Training started from {started['words']}.{overlap_in_words(started)}"]


def meaning(figures: Mapping[str, Any]) -> str:
    """The headline in one sentence, without the term macro-F1."""
    level = figures["level"]
    scores, counts = figures[level], figures["counts"]
    accuracy, chance = scores["accuracy"], figures["baselines"]["majority"]["accuracy"]["value"]
    between = "" if accuracy["low"] is None else f" (between {accuracy['low']:.0%} and {accuracy['high']:.0%})"
    text = (
        f"Of {scores['items']} {level}s of {counts['test_subjects']} people it had never met, the model names the "
        f"emotion of {accuracy['value']:.0%}{between} as labelled; always the commonest would get {chance:.0%}."
    )
    drops = {name: row["value"] for name, row in figures["all_minus"].items() if name in figures["subsets"]}
    alone = {name: value for name, value in drops.items() if "+" not in name and value is not None}
    if len(alone) > 1:
        best = min(alone, key=lambda name: alone[name])
        text += f" The best single modality, {best}, falls short of all together by {alone[best]:.2f} macro-F1."
    return text


def render(
    evaluation: Evaluation, pictures: Mapping[str, bytes], *, title: str, datasets: Sequence[str], config: Evaluate
) -> str:
    """The report as HTML.

    Args:
        evaluation: what is shown.
        pictures: name → PNG bytes; names as in `ALT`, and `timeline-*`.
        title: whose evaluation it is.
        datasets: the corpora, for their caveats.
        config: how it was measured.
    """
    from markupsafe import Markup

    def picture(name: str) -> Markup:
        if name not in pictures:
            return Markup("")
        data = base64.b64encode(pictures[name]).decode()
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(ALT.get(name, "one clip over time"), data)

    def span(interval: Mapping[str, float | None]) -> str:
        return "" if interval["low"] is None else f"[{interval['low']:.3f}, {interval['high']:.3f}]"

    figures = evaluation.metrics
    return render_template(
        TEMPLATE,
        picture=picture,
        span=span,
        title=title,
        m={**dict.fromkeys(("step", "episodes", "contradiction", "affect", "compared")), "refit": False, **figures},
        head=figures[evaluation.level],
        aims=AIMS,
        gates=evaluation.gates,
        table=[(name, scores.to_json()) for name, scores in evaluation.table],
        timelines=sorted(name for name in pictures if name.startswith("timeline-")),
        temperatures=list(figures["calibration"]["temperatures"].items()),
        meaning=meaning(figures),
        mistakes=surest_mistakes(evaluation.cases, evaluation.scored, evaluation.classes),
        absent=", ".join(name for name in evaluation.classes if name not in figures["per_class"]),
        notes=[
            *notes_for(datasets),
            *thinned_notes(figures),
            *started_notes(figures),
            *filter(None, [split_in_words(figures)]),
        ],
        overlap=overlap_in_words(figures["compared"]).strip() if "compared" in figures else "",
        people_before=", ".join(figures.get("compared", {}).get("learned_from", {})),
        confidence=f"{100 * config.confidence:g}",
        draws=config.bootstrap,
        expected_outside=f"{100 * (1 - config.outlier_quantile):.0f}",
    )
