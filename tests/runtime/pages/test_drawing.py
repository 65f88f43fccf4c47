from __future__ import annotations

from components.runtime.pages import drawing


def test_every_class_has_a_colour_and_spare_ones_stay_with_their_place() -> None:
    own = ("neutral", "boredom", "doubt")
    assert drawing.colour("neutral", own) == drawing.COLOURS["neutral"]
    assert drawing.colour("boredom", own) != drawing.colour("doubt", own)
    assert drawing.colour("doubt", own) == drawing.colour("doubt", own)
