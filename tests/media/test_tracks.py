from __future__ import annotations

import pytest

from components.contracts.errors import MediaError
from components.media.tracks import Choice, Track, TrackNote, ranked, why_used


def track(number: int, *, is_default: bool = False, decodes: bool = True, **tags: str) -> Track:
    return Track(number=number, index=number + 1, is_default=is_default, decodes=decodes, **tags)


def test_flagged_tracks_come_first_and_those_without_a_decoder_never() -> None:
    tracks = [track(1), track(2, is_default=True, decodes=False), track(3, is_default=True), track(4, is_default=True)]
    assert [one.number for one in ranked(tracks)] == [3, 4, 1]
    assert Choice().of(tracks, "sound", "t") == tracks[2]
    assert Choice(rank=2).of(tracks, "sound", "t") == tracks[0]
    assert Choice(rank=3).of(tracks, "sound", "t") is None
    assert Choice().of([], "sound", "t") is None
    assert Choice(number=4).of(tracks, "sound", "t") == tracks[3]


def test_the_reason_tells_a_flag_from_none() -> None:
    assert why_used(Choice(number=1), [track(1)]) == "as requested"
    assert why_used(Choice(), [track(1), track(2, is_default=True)]) == "the default one"
    for flag in (False, True):
        assert why_used(Choice(), [track(1, is_default=flag), track(2, is_default=flag)]) == "the first one"


def test_tracks_are_named_by_their_tags() -> None:
    tracks = (track(1, language="und"), track(2, language="deu", title="Voice"), track(3, decodes=False))
    assert [str(one) for one in tracks] == ["1", "2 (deu, “Voice”)", "3 (no decoder)"]
    note = TrackNote(kind="sound", tracks=tracks, used=tracks[1], why="as requested")
    assert str(note) == "3 sound tracks: track 2 (deu, “Voice”) is used, as requested"
    with pytest.raises(MediaError, match="cannot be decoded") as caught:
        Choice(number=3).of(tracks, "sound", "tiny/a")
    assert caught.value.code == "no-track"
    assert caught.value.allowed == "sound track 1, 2 (deu, “Voice”), 3 (no decoder)"
