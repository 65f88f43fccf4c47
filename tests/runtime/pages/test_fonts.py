from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from components.runtime.pages import drawing, fonts

# Joy, calm and anger, in Chinese, Japanese and Korean.
NAMES = ("喜悦", "よろこび", "분노")


def picture(title: str) -> bytes:
    with drawing.style():
        figure, axis = drawing.figure_of(2, 1)
        axis.set_title(title)
        figure.tight_layout()
        return drawing.png(figure)


@pytest.fixture
def with_cjk() -> Iterator[None]:
    """A matplotlib whose list of fonts is older than a font with Chinese, Japanese and Korean characters."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    whole = list(manager.ttflist)
    manager.ttflist = [font for font in whole if "CJK" not in font.name]
    fonts.families.cache_clear()
    if not any("CJK" in name for name in fonts.families()):
        manager.ttflist = whole
        fonts.families.cache_clear()
        pytest.skip("no Noto Sans CJK is installed (apt-get install fonts-noto-cjk)")
    yield
    manager.ttflist = whole
    fonts.families.cache_clear()


@pytest.mark.usefixtures("with_cjk")
def test_names_in_chinese_japanese_and_korean_are_drawn_as_soon_as_a_font_is_installed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Of two characters that no font has the pictures are the same: boxes.
    assert len({picture(name[:1]) for name in NAMES}) == len(NAMES)
    assert picture("\ue0f3") == picture("\ue0f4")
    assert "no font here has \ue0f3" in capfd.readouterr().err
    picture(" ".join(NAMES))
    assert capfd.readouterr().err == ""


def test_wide_characters_are_as_wide_as_two_letters() -> None:
    assert [fonts.letters(text) for text in ("anger", "glücklich", *NAMES)] == [5, 9, 4, 8, 4]


def test_a_name_with_dollar_signs_is_not_a_formula(capfd: pytest.CaptureFixture[str]) -> None:
    # As a formula the first is the second without its signs, and the third cannot be read.
    assert picture("$5 & $6") != picture("5 & 6")
    assert picture("$\\frac$")
    assert capfd.readouterr().err == ""


def test_only_families_that_are_here_are_asked_for() -> None:
    from matplotlib import font_manager

    here = {font.name for font in font_manager.fontManager.ttflist}
    assert fonts.families()[0] == fonts.FIRST
    assert set(fonts.families()) <= here


def test_characters_that_no_font_has_are_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    # Two that no font can have: they are for private use.
    picture("glad \ue0f1\ue0f2")
    assert capfd.readouterr().err.count("pictures: no font here has \ue0f1 \ue0f2, so they are boxes") == 1
    picture("glad \ue0f1\ue0f2")
    picture("glücklich, радость, χαρά")
    assert capfd.readouterr().err == ""


def test_other_warnings_are_passed_on() -> None:
    with pytest.warns(UserWarning, match="something else"), fonts.missing_glyphs_said():
        warnings.warn("something else", UserWarning, stacklevel=1)
