from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.media.frames import DecodeReport, frames
from tests.alignment.media import damage, grey, write_clip
from tests.alignment.passes import LIMITS, first_pass, levels, second_pass


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", "libx264"), ("mkv", "libx264"), ("mp4", "mpeg4"), ("avi", "mpeg4"), ("mov", "libx264")],
)
def test_every_picture_is_found_by_its_time(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_clip(tmp_path / f"a.{suffix}", pictures=[grey(level) for level in levels()], video_codec=codec)
    pictures = first_pass(path).pictures
    assert pictures is not None
    assert pictures.times_s.size == 50
    assert np.diff(pictures.times_s) == pytest.approx(0.04, abs=0.0011)
    assert pictures.end_s - pictures.times_s[0] == pytest.approx(2.0, abs=0.01)
    wanted = np.arange(2, 50, 5)
    got, report = second_pass(path, pictures.times_s[wanted])
    assert sorted(got) == list(range(wanted.size))
    for index, picture in got.items():
        assert picture.shape == (64, 64, 3)
        assert float(picture.mean()) == pytest.approx(levels()[wanted[index]], abs=2)
    assert report.damaged_packets == report.dropped_frames == 0


def test_timestamps_not_numbers_place_a_variable_frame_rate(tmp_path: Path) -> None:
    times = np.cumsum(np.tile([0.0166, 0.0714, 0.04], 12))
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(5 * k) for k in range(36)], times_s=times.tolist())
    pictures = first_pass(path).pictures
    assert pictures is not None
    assert pictures.times_s - pictures.times_s[0] == pytest.approx(times - times[0], abs=1e-4)
    got, _ = second_pass(path, pictures.times_s[[7, 20]])
    assert [float(got[k].mean()) for k in (0, 1)] == pytest.approx([35, 100], abs=2)


def test_glances_are_no_more_than_sixty_a_second(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(90)] * 120, fps=120)
    times: list[float] = []
    got = frames(path, np.array([0.0, 0.99]), LIMITS, DecodeReport(), where="t", glance=lambda at, _: times.append(at))
    assert len(list(got)) >= 1
    assert 55 <= len(times) <= 61
    assert np.diff(times).min() > 0.016


def test_damaged_packets_cost_the_pictures_up_to_the_next_key_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(75)]
    path = write_clip(tmp_path / "a.mp4", pictures=noise, gop=25)
    before = first_pass(path).pictures
    damage(path, from_s=1.0, to_s=1.3)
    found = first_pass(path)
    assert found.pictures is not None
    assert before is not None
    assert found.pictures.times_s.tolist() == before.times_s.tolist()
    got, report = second_pass(path, found.pictures.times_s)
    assert report.damaged_packets + report.dropped_frames > 0
    assert set(range(25)) <= set(got)
    assert set(range(50, 75)) <= set(got)
    assert not set(range(26, 32)) & set(got)


def test_a_file_cut_short_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(100)]
    path = write_clip(tmp_path / "a.mp4", pictures=noise, faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    pictures = first_pass(path).pictures
    assert pictures is not None
    assert pictures.declared_end_s == pytest.approx(4.0)
    assert 1.0 < pictures.end_s < 3.0
    got, _ = second_pass(path, pictures.times_s)
    assert len(got) >= pictures.times_s.size - 6  # the last references of B pictures are gone
