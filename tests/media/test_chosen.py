"""One track of each kind is used: as requested, by the default flag, and not a silent one or a still beside others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.chosen import ChosenScan, scan_chosen
from components.media.clocks.frame_clock import frame_clock
from components.media.reader import MediaReader
from components.media.span import Span
from components.media.tracks import Choice, Choices
from tests.alignment.media import Picture, grey, tone, write_tracks

RATE_HZ = 16_000
SILENT = np.zeros(RATE_HZ, np.float32)
HEARD = {hz: tone(1.0, RATE_HZ, hz=hz) for hz in (300.0, 700.0)}
A, B = HEARD.values()
MOVING = [grey(20 + 8 * k) for k in range(25)]
STILL = [grey(200)]


def chosen(path: Path, *, span: Span | None = None, picture: int | None = None, sound: int | None = None) -> ChosenScan:
    return scan_chosen(
        path,
        MediaLimits(),
        rate_hz=RATE_HZ,
        floor_dbfs=-60.0,
        where="tiny/a",
        picture=True,
        sound=True,
        span=span,
        choices=Choices(picture=Choice(number=picture), sound=Choice(number=sound)),
    )


def heard_hz(found: ChosenScan) -> float:
    """The frequency of the sound, 0 for silence."""
    assert found.scan.sound is not None
    pcm = np.concatenate([run.pcm for run in found.scan.sound.runs]).astype(np.float64)
    return float(np.abs(np.fft.rfft(pcm)).argmax() * RATE_HZ / pcm.size) if pcm.any() else 0.0


@pytest.mark.parametrize(
    ("sounds", "default", "hz", "why"),
    [
        ((A, B), 0, 300, "track 1 is used, the first one"),
        ((A, B), 1, 300, "track 1 is used, the default one"),
        ((A, B), 2, 700, "track 2 is used, the default one"),
        ((SILENT, B), 1, 700, "track 2 is used, since track 1 is silent"),
        ((SILENT, SILENT, B), 2, 700, "track 3 is used, since track 2 is silent"),
        ((A, SILENT, B), 2, 300, "track 1 is used, since track 2 is silent"),
        ((SILENT, SILENT), 2, 0, "track 2 is used, the default one"),
    ],
)
def test_the_sound_track_is_chosen_by_its_flag_unless_it_is_silent(
    tmp_path: Path, sounds: tuple[NDArray[np.float32], ...], default: int, hz: float, why: str
) -> None:
    found = chosen(write_tracks(tmp_path / "a.mkv", pictures=[MOVING], sounds=sounds, default_sound=default))
    assert heard_hz(found) == pytest.approx(hz, abs=2)
    assert found.notes == (f"{len(sounds)} sound tracks: {why}",)


def test_one_track_of_each_kind_is_not_worth_a_note(tmp_path: Path) -> None:
    assert chosen(write_tracks(tmp_path / "a.mkv", pictures=[MOVING], sounds=[A])).notes == ()
    assert chosen(write_tracks(tmp_path / "b.mkv", pictures=[MOVING], sounds=[SILENT])).notes == ()


@pytest.mark.parametrize(
    ("pictures", "default", "number", "why"),
    [
        ((MOVING, MOVING[:20]), 1, 1, "the default one"),
        ((MOVING, MOVING[:20]), 2, 2, "the default one"),
        ((STILL, MOVING), 1, 2, "since track 1 is a still"),
        ((MOVING, STILL), 2, 1, "since track 2 is a still"),
        ((STILL, STILL), 2, 2, "the default one"),
    ],
)
def test_the_picture_track_is_chosen_by_its_flag_unless_it_is_a_still(
    tmp_path: Path, pictures: tuple[list[Picture], ...], default: int, number: int, why: str
) -> None:
    path = write_tracks(tmp_path / "a.mkv", pictures=pictures, sounds=[A], default_picture=default)
    found = chosen(path)
    assert found.notes == (f"2 picture tracks: track {number} is used, {why}",)
    assert found.scan.pictures is not None
    assert found.scan.pictures.stream == number - 1
    assert found.scan.pictures.times_s.size == len(pictures[number - 1])
    assert frame_clock(path, MediaReader()).times_s.size == len(pictures[number - 1]), "labels count the same pictures"


def test_a_number_decides_against_flags_and_silence(tmp_path: Path) -> None:
    path = write_tracks(
        tmp_path / "a.mkv", pictures=[MOVING, STILL], sounds=[A, SILENT], default_picture=1, default_sound=1
    )
    found = chosen(path, picture=2, sound=2)
    assert heard_hz(found) == 0
    assert found.scan.pictures is not None
    assert found.scan.pictures.stream == 1
    assert found.notes == (
        "2 picture tracks: track 2 is used, as requested",
        "2 sound tracks: track 2 is used, as requested",
    )


def test_a_number_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    tags = [{"language": "eng"}, {"language": "deu", "title": "Commentary"}]
    path = write_tracks(tmp_path / "a.mkv", pictures=[MOVING], sounds=[A, B], tags=tags)
    with pytest.raises(MediaError, match="no sound track of that number") as caught:
        chosen(path, sound=3)
    assert caught.value.code == "no-track"
    assert caught.value.allowed == "sound track 1 (eng), 2 (deu, “Commentary”)"
    with pytest.raises(MediaError) as caught:
        chosen(write_tracks(tmp_path / "b.mkv", sounds=[A]), picture=1)
    assert caught.value.allowed == "none: the file has no picture track"
    assert chosen(path, sound=2).notes == ("2 sound tracks: track 2 (deu, “Commentary”) is used, as requested",)


def test_a_span_is_cut_from_the_chosen_track(tmp_path: Path) -> None:
    later = np.concatenate([SILENT, B])
    path = write_tracks(tmp_path / "a.mkv", pictures=[MOVING + MOVING], sounds=[np.concatenate([A, SILENT]), later])
    first = chosen(path, span=Span(start_s=0.0, end_s=1.0))
    second = chosen(path, span=Span(start_s=1.2, end_s=2.0))
    assert (heard_hz(first), heard_hz(second)) == (pytest.approx(300, abs=2), pytest.approx(700, abs=2))
    assert second.notes == ("2 sound tracks: track 2 is used, since track 1 is silent",)
