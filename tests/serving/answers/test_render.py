from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from components.serving.answers.render import render
from components.serving.answers.schemas import Answer
from tests.serving.answers.test_schemas import answer_fields, later


def long_answer(steps: int) -> Answer:
    fields = answer_fields()
    moments = []
    for step in range(steps):
        angry = step >= steps // 2
        moments.append(
            {
                "start_s": step / 10,
                "end_s": (step + 1) / 10,
                "emotion": "anger" if angry else "neutral",
                "posterior": {"neutral": 0.2, "anger": 0.8} if angry else {"neutral": 0.8, "anger": 0.2},
                "present": ["voice"] if angry else ["face", "voice"],
            }
        )
    return Answer.model_validate({**fields, "timeline": moments})


def printed(answer: Answer, **options: object) -> str:
    buffer = io.StringIO()
    render(answer, Console(file=buffer, **options))  # type: ignore[arg-type]
    return buffer.getvalue()


def strip(text: str, label: str) -> str:
    line = next(line for line in text.splitlines() if line.strip().startswith(label))
    return line.split(label, maxsplit=1)[1].strip()


def test_the_strip_shows_emotion_and_presence_in_time() -> None:
    text = printed(long_answer(40), width=100)
    assert strip(text, "emotion") == "N" * 20 + "A" * 20
    assert strip(text, "face") == "█" * 20 + "·" * 20
    assert strip(text, "voice") == "█" * 40
    assert "mer 3, bundle bbbbbbbbbbbb" in text


def test_fields_that_a_later_version_adds_change_nothing_that_is_printed() -> None:
    later_answer = Answer.model_validate(later(answer_fields()))
    assert printed(later_answer, width=80) == printed(Answer.model_validate(answer_fields()), width=80)


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for line in printed(long_answer(700), width=width).splitlines():
        assert cell_len(line) <= width


def test_moments_without_any_modality_are_empty() -> None:
    text = printed(Answer.model_validate(answer_fields()), width=80)
    assert strip(text, "emotion") == "A·"


def test_warnings_are_printed_as_sentences() -> None:
    text = printed(long_answer(10), width=100)
    assert "The modalities contradict each other." in text
    assert "This clip is unlike the training data." in text
    assert "sound only" in text


def test_no_colour_off_a_terminal_and_colour_on_one() -> None:
    assert "\x1b[" not in printed(long_answer(10), width=80)
    assert "\x1b[" in printed(long_answer(10), width=80, force_terminal=True)


def test_plain_ascii_where_the_encoding_is_not_utf8() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as file:
        render(long_answer(40), Console(file=file, width=80))
        file.flush()
        text = raw.getvalue().decode("ascii")
    assert strip(text, "face") == "@" * 20 + "." * 20


def test_what_an_episode_rests_on_is_printed_below_it() -> None:
    lines = printed(Answer.model_validate(answer_fields()), width=80).splitlines()
    place = next(index for index, line in enumerate(lines) if "sustained" in line)
    assert lines[place + 1].strip() == "It rests most on the voice."
