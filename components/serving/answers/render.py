"""Prints an answer on a terminal, for `mer predict`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from components.contracts.lineage import RENDERED
from components.features.languages import language_name
from components.serving.answers.schemas import Answer, Moment
from components.serving.answers.words import PEOPLE, percent

COLOURS = {
    "neutral": "white",
    "calm": "cyan",
    "happiness": "yellow",
    "sadness": "blue",
    "anger": "red",
    "fear": "magenta",
    "disgust": "green",
    "surprise": "bright_cyan",
    "other": "bright_black",
}
LABEL_COLUMNS = 11
MIN_STRIP_COLUMNS = 10
MAX_STRIP_COLUMNS = 100
LEVELS = " ▁▂▃▄▅▆▇█"
ASCII_LEVELS = " .:-=+*#@"
BAR_COLUMNS = 24
NOTHING = "·"
ASCII_NOTHING = "."
TICK_COLUMNS = 10


def render(answer: Answer, console: Console) -> None:
    """Prints the answer: verdict, per-moment strip, episodes, contradiction, warnings, and the version that gave it.

    Fits the console's width; colours only where the console has them, and plain ASCII where its encoding is not UTF-8.
    """
    plain = "utf" not in (console.encoding or "").lower()
    _verdict(answer, console, plain)
    _strip(answer, console, plain)
    _episodes(answer, console)
    _line(console, "agreement", answer.contradiction.words, "bold red" if _contradicts(answer) else "")
    for index, span in enumerate(answer.contradictions):
        _line(console, "where" if index == 0 else "", span.words, "red")
    if answer.valence is not None and answer.arousal is not None:
        _line(console, "mood", f"valence {answer.valence:+.2f}, arousal {answer.arousal:+.2f} (each -1 to 1)", "")
    _line(console, "familiar?", answer.outside_training.words, "bold yellow" if answer.outside_training.flag else "")
    if answer.clip.language is not None:
        _line(console, "words in", language_name(answer.clip.language), "dim")
    for note in answer.notes:
        _line(console, "note", note, "dim")
    model = answer.model
    if model.trained_on:
        rendered = model.trained_on.startswith(PEOPLE[RENDERED])
        _line(console, "trained on", model.trained_on, "bold yellow" if rendered else "dim")
    _line(
        console,
        "version",
        f"{model.name} {model.version}, bundle {model.bundle_sha256[:12]}, data {model.data_sha256[:12]}, "
        f"code {model.git_commit[:12]}",
        "dim",
    )


def _contradicts(answer: Answer) -> bool:
    score = answer.contradiction.score
    return score is not None and score >= answer.contradiction.threshold


def _verdict(answer: Answer, console: Console, plain: bool) -> None:
    head = Text(answer.clip.name, style="bold")
    head.append(f"  {answer.clip.duration_s:.1f} s", style="dim")
    head.append("  ")
    if answer.emotion is None or answer.confidence is None:
        head.append("no answer", style="bold yellow")
    else:
        head.append(answer.emotion, style=f"bold {_colour(answer.emotion)}")
        head.append(f" {percent(answer.confidence)}")
    console.print(head, soft_wrap=True)
    ranked = sorted(answer.posterior.items(), key=lambda item: -item[1])
    for emotion, probability in ranked[:3]:
        bar = ("#" if plain else "█") * round(probability * BAR_COLUMNS)
        line = Text(f"  {emotion:<{LABEL_COLUMNS}}")
        line.append(f"{percent(probability):>5} ")
        line.append(bar, style=_colour(emotion))
        console.print(line, no_wrap=True, crop=True)


def _strip(answer: Answer, console: Console, plain: bool) -> None:
    timeline = answer.timeline
    if not timeline:
        return
    room = console.width - LABEL_COLUMNS - 3
    columns = max(min(len(timeline), room, MAX_STRIP_COLUMNS), min(len(timeline), MIN_STRIP_COLUMNS))
    cells = [timeline[start:end] for start, end in _cuts(len(timeline), columns)]
    letters = _letters(tuple(answer.posterior))
    levels = ASCII_LEVELS if plain else LEVELS
    nothing = ASCII_NOTHING if plain else NOTHING
    emotions = [_main(cell) for cell in cells]

    emotion_row, confidence_row = _label("emotion"), _label("confidence")
    for cell, emotion in zip(cells, emotions, strict=True):
        if emotion is None:
            emotion_row.append(nothing, style="dim")
            confidence_row.append(" ")
            continue
        emotion_row.append(letters[emotion], style=f"bold {_colour(emotion)}")
        confidences = [moment.posterior[emotion] for moment in cell if moment.posterior]
        confidence_row.append(_level(sum(confidences) / len(confidences), levels), style=_colour(emotion))
    rows = [_ticks(cells), emotion_row, confidence_row]
    for modality in answer.presence:
        row = _label(modality)
        for cell in cells:
            share = sum(modality in moment.present for moment in cell) / len(cell)
            row.append(_level(share, levels) if share else nothing, style="green" if share else "dim")
        rows.append(row)
    if answer.contradictions:
        rows.append(_contradiction_row(answer, cells, plain))
    console.print()
    for row in rows:
        console.print(row, no_wrap=True, crop=True)
    shown = [emotion for emotion in letters if emotion in emotions]
    if shown:
        legend = _label("")
        for emotion in shown:
            legend.append(f"{letters[emotion]} ", style=f"bold {_colour(emotion)}")
            legend.append(f"{emotion}  ")
        console.print(legend)
    console.print()


def _contradiction_row(answer: Answer, cells: Sequence[Sequence[Moment]], plain: bool) -> Text:
    """A mark in every column that a contradiction overlaps."""
    row = _label("conflict")
    for cell in cells:
        hit = any(span.onset_s < cell[-1].end_s and span.offset_s > cell[0].start_s for span in answer.contradictions)
        row.append(("!" if plain else "▲") if hit else " ", style="bold red")
    return row


def _episodes(answer: Answer, console: Console) -> None:
    for index, episode in enumerate(answer.episodes):
        line = _label("episodes" if index == 0 else "")
        line.append(f"{episode.onset_s:6.1f} to {episode.offset_s:5.1f} s  ")
        line.append(f"{episode.emotion:<{LABEL_COLUMNS}}", style=_colour(episode.emotion))
        line.append(f"{episode.kind}, intensity {percent(episode.intensity)}")
        console.print(line, no_wrap=True, crop=True)
        if episode.why is not None:
            _line(console, "", episode.why.words, "dim")
    for index, change in enumerate(answer.transitions):
        if change.why is not None:
            text = f"{change.at_s:.1f} s, {change.before} to {change.after}: {change.why.words}"
            _line(console, "changes" if index == 0 else "", text, "dim")


def _line(console: Console, label: str, text: str, style: str) -> None:
    """A labelled sentence; further lines are indented to the same column."""
    room = max(console.width - LABEL_COLUMNS - 3, MIN_STRIP_COLUMNS)
    for index, part in enumerate(Text(text).wrap(console, room)):
        row = _label(label if index == 0 else "")
        row.append(part.plain.rstrip(), style=style)
        console.print(row, no_wrap=True, crop=True)


def _label(text: str) -> Text:
    return Text(f"  {text:<{LABEL_COLUMNS}}")


def _colour(emotion: str) -> str:
    return COLOURS.get(emotion, "white")


def _cuts(count: int, columns: int) -> list[tuple[int, int]]:
    """`columns` contiguous, non-empty ranges that cover `count` steps."""
    return [(index * count // columns, (index + 1) * count // columns) for index in range(columns)]


def _main(cell: Sequence[Moment]) -> str | None:
    """The emotion with the largest total probability in a column, or None where no modality is present."""
    totals: dict[str, float] = {}
    for moment in cell:
        for emotion, probability in moment.posterior.items():
            totals[emotion] = totals.get(emotion, 0.0) + probability
    return max(totals, key=lambda emotion: totals[emotion]) if totals else None


def _level(share: float, levels: str) -> str:
    return levels[min(len(levels) - 1, max(1, round(share * (len(levels) - 1))))]


def _letters(classes: Sequence[str]) -> dict[str, str]:
    """One distinct capital letter per class: the first of its letters that no earlier class has."""
    letters: dict[str, str] = {}
    for name in classes:
        free = [letter for letter in name.upper() if letter.isalpha() and letter not in letters.values()]
        letters[name] = free[0] if free else str(len(letters) % 10)
    return letters


def _ticks(cells: Sequence[Sequence[Moment]]) -> Text:
    """Seconds above the strip, every `TICK_COLUMNS` columns."""
    marks = ""
    for first in range(0, len(cells), TICK_COLUMNS):
        mark = f"{cells[first][0].start_s:.1f}"
        if first + len(mark) <= len(cells):
            marks = marks.ljust(first) + mark
    row = _label("seconds")
    row.append(marks, style="dim")
    return row
