"""The forms of an answer: JSON, a table of its moments, its episodes as subtitles, and text for people."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

from components.serving.answers.schemas import Answer, EpisodeView


def csv(answer: Answer) -> str:
    """The timeline with a row per moment, in the columns of `Answer.to_pandas`."""
    return str(answer.to_pandas().to_csv(index=False))


def srt(answer: Answer) -> str:
    """The episodes as SubRip subtitles, which players show over the clip."""
    cues = (
        f"{number}\n{_time(episode.onset_s, ',')} --> {_time(episode.offset_s, ',')}\n{_words(episode)}\n"
        for number, episode in enumerate(answer.episodes, start=1)
    )
    return "\n".join(cues)


def vtt(answer: Answer) -> str:
    """The episodes as WebVTT, which browsers show over the clip."""
    cues = (
        f"{_time(episode.onset_s, '.')} --> {_time(episode.offset_s, '.')}\n{_words(episode)}\n"
        for episode in answer.episodes
    )
    return "\n".join(("WEBVTT\n", *cues))


def json(answer: Answer) -> str:
    """The whole answer, in one line."""
    return answer.to_json()


def text(answer: Answer) -> str:
    """What `mer predict` prints."""
    from rich.console import Console

    from components.serving.answers.render import render

    shown = io.StringIO()
    render(answer, Console(file=shown, width=TEXT_WIDTH))
    return shown.getvalue()


TEXT_WIDTH = 120  # characters
Form = Callable[[Answer], str]
# Ending of a file → the form.
FORMS: Mapping[str, Form] = {"json": json, "csv": csv, "srt": srt, "vtt": vtt}
# Media type → the form; a client that accepts anything gets the first one.
MEDIA_TYPES: Mapping[str, Form] = {
    "application/json": json,
    "text/csv": csv,
    "application/x-subrip": srt,
    "text/vtt": vtt,
    "text/plain": text,
}


def accepted(accept: str) -> str | None:
    """The media type that a client prefers by its `Accept` header (RFC 9110, section 12.5.1); None: it takes none."""
    from werkzeug.datastructures import MIMEAccept
    from werkzeug.http import parse_accept_header

    return parse_accept_header(accept or "*/*", MIMEAccept).best_match(list(MEDIA_TYPES))


def _words(episode: EpisodeView) -> str:
    return f"{episode.emotion} ({episode.kind}, {episode.intensity:.0%})"


def _time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{point}{milliseconds:03d}"
