from __future__ import annotations

import pytest

from components.alignment.tokens import words_of, written_together


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("we don't  know, 3.5 New-York…", ["we", "don't", "know,", "3.5", "New-York…"]),
        ("l’homme a dit", ["l’homme", "a", "dit"]),
        ("نمی‌خواهم باور کنم", ["نمی‌خواهم", "باور", "کنم"]),
        ("우리가 정말 이겼어", ["우리가", "정말", "이겼어"]),
        ("“我们真的赢了!”我不敢相信。", ["“我们", "真的", "赢了!”", "我", "不敢", "相信。"]),
        ("iPhone很好 really", ["iPhone", "很好", "really"]),
        ("😀我们😀", ["😀我们😀"]),
        ("。。", ["。。"]),
        ("", []),
    ],
)
def test_words_in_every_script(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("before", "after", "together"),
    [
        ("we", "won", False),
        ("우리가", "정말", False),
        ("“我们", "真的", True),
        ("赢了!”", "我", True),
        ("人々", "は", True),
        ("ที่", "นี่", True),
        ("ကျွန်တော်", "တို့", True),
        ("iPhone", "很好", False),
        ("你好", "3", False),
        ("…", "我", False),
    ],
)
def test_scripts_without_blanks_are_written_together(before: str, after: str, *, together: bool) -> None:
    assert written_together(before, after) is together
