"""Every event of every kind of file comes to lie within one frame, or 10 ms of sound, of where it was planted."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.alignment.faces.envelope import envelope
from components.alignment.vad import Energy
from components.contracts.timebase import Grid
from components.media.sound import SampleRun, Sound, levels_dbfs, place
from tests.alignment.placement import CASES, FINE, MAX_SOUND_ERROR_S, Case, heard_at, placed, render, seen_at
from tests.builders import make_clip

RATE_HZ = 16_000
HALF_HOUR = Case(
    name="half_hour",
    group="30 min",
    suffix="mkv",
    duration_s=1800.0,
    fps=2.0,
    width=32,
    height=32,
    video_codec="mpeg4",
    sound_rate_hz=8_000,
    channels=1,
    audio_codec="pcm_s16le",
    events=(0.001, 0.5, 0.9985),
)


@pytest.fixture(scope="module")
def fine() -> Aligner:
    return Aligner(FINE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_events_lie_where_they_were_planted(fine: Aligner, tmp_path: Path, case: Case) -> None:
    found = placed(case, tmp_path, fine)
    assert found.picture_s.size == case.parts * len(case.events)
    assert (np.abs(found.picture_s) <= found.frame_s).all(), found.picture_s
    assert (np.abs(found.sound_s) <= MAX_SOUND_ERROR_S).all(), found.sound_s
    if case.rotation or case.matrix:
        upright = (case.width, case.height)
        assert tuple(np.nanmax(found.clip.face_box, axis=0)[2:]) == upright
    if case.sound_clock != 1.0:
        assert found.clip.quality.drift_s_per_min == pytest.approx(60 * (1 / case.sound_clock - 1), abs=0.01)


def test_half_an_hour_is_placed_as_well_as_a_second(fine: Aligner, tmp_path: Path) -> None:
    path, flashes_s, chirps_s, frame_s = render(HALF_HOUR, tmp_path)
    aligner = Aligner(FINE.model_copy(update={"rate_hz": 10.0}))
    clip = aligner.align(make_clip(video_path=path.name), root=tmp_path)
    assert clip.quality.duration_s == pytest.approx(1800.0, abs=0.02)
    assert clip.grid.num_steps == 18_000
    assert (np.abs(seen_at(clip, flashes_s) - flashes_s) <= frame_s + 0.1).all()  # steps of a tenth of a second
    assert (np.abs(heard_at(clip, chirps_s) - chirps_s) <= MAX_SOUND_ERROR_S).all()
    assert clip.quality.drift_s_per_min == 0.0
    assert clip.masks["face"].mean() > 0.99


@pytest.mark.parametrize("what", ["levels", "envelope", "energy", "place"])
def test_long_sound_needs_no_floating_point_copy_of_itself(what: str) -> None:
    seconds = 300
    pcm = np.random.default_rng(0).integers(-3000, 3000, seconds * RATE_HZ).astype(np.int16)
    exists = np.ones(pcm.size, dtype=bool)
    grid = Grid.covering(seconds, 10.0)
    sound = Sound(
        runs=(SampleRun(start_s=0.0, pcm=pcm),),
        rate_hz=RATE_HZ,
        drift_s_per_min=0.0,
        damaged_packets=0,
        declared_end_s=None,
    )
    tasks = {
        "levels": lambda: levels_dbfs(pcm, exists, RATE_HZ, grid.starts_s, 0.1),
        "envelope": lambda: envelope(pcm, RATE_HZ),
        "energy": lambda: Energy().speech(pcm, grid),
        "place": lambda: place(sound, origin_s=0.0, duration_s=float(seconds)),
    }
    tracemalloc.start()
    tasks[what]()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * pcm.nbytes, f"{peak / pcm.nbytes:.1f} times the sound"
