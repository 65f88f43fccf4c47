from __future__ import annotations

import warnings

import pytest

from components.runtime import drawing, fonts


def picture(title: str) -> bytes:
    with drawing.style():
        figure, axis = drawing.figure_of(2, 1)
        axis.set_title(title)
        return drawing.png(figure)


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
