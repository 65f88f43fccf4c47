from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media import film as films
from components.media.film import film
from tests.serving import media


def test_pictures_are_evenly_spread_small_and_those_of_their_time(tmp_path: Path) -> None:
    made = film(media.video(tmp_path / "a.mp4", seconds=3.0, side_px=480), MediaLimits(), where="a")
    assert made.times_s == pytest.approx((0.0, 0.48, 1.0, 1.48, 2.0, 2.48))
    pictures = [np.asarray(Image.open(io.BytesIO(jpeg)), dtype=float) for jpeg in made.jpegs]
    assert {picture.shape for picture in pictures} == {(films.SIDE_PX, films.SIDE_PX, 3)}
    assert np.abs(pictures[0] - pictures[-1]).mean() > 10, "the blobs move"


def test_a_long_clip_has_no_more_than_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "MOST", 3)
    made = film(media.video(tmp_path / "a.mp4", seconds=3.0), MediaLimits(), where="a")
    assert made.times_s == pytest.approx((0.0, 1.0, 2.0))


def test_a_photograph_is_one_and_a_sound_file_none(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    assert film(tmp_path / "a.png", MediaLimits(), where="a").times_s == (0.0,)
    assert film(media.sound(tmp_path / "a.wav"), MediaLimits(), where="a").jpegs == ()


def test_limits_hold(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="long"):
        film(media.video(tmp_path / "a.mp4", seconds=3.0), MediaLimits(max_duration_s=1.0), where="a")
