from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.contracts.timebase import Grid
from components.media.scan import scan
from components.media.sound import MAX_RUNS, Sound, SoundCollector, levels_dbfs, place
from tests.alignment.media import clicks, grey, tone, wav, write_clip

RATE_HZ = 16_000


def sound_of(path: Path, limits: MediaLimits | None = None) -> Sound:
    found = scan(path, limits or MediaLimits(), rate_hz=RATE_HZ, where="t", picture=False, sound=True).sound
    assert found is not None
    return found


def onsets_s(sound: Sound, duration_s: float, origin_s: float = 0.0) -> np.ndarray:
    pcm, _ = place(sound, origin_s=origin_s, duration_s=duration_s)
    loud = np.abs(pcm.astype(np.int32)) > 3000
    first = np.nonzero(loud)[0]
    return first[np.concatenate([[True], np.diff(first) > 800])] / RATE_HZ


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_pcm_is_placed_to_the_sample(tmp_path: Path, rate_hz: int) -> None:
    sound = sound_of(wav(tmp_path / "a.wav", clicks(2.0, [0.25, 1.5], rate_hz), rate_hz))
    assert onsets_s(sound, 2.0) == pytest.approx([0.25, 1.5], abs=0.0005)
    assert sound.end_s == pytest.approx(2.0, abs=1 / RATE_HZ)


def test_samples_keep_their_level(tmp_path: Path) -> None:
    pcm, exists = place(sound_of(wav(tmp_path / "a.wav", tone(1.0, 16_000, level=0.5))), origin_s=0, duration_s=1.0)
    assert exists.all()
    assert np.abs(pcm).max() == pytest.approx(0.5 * 32767, abs=2)


def test_lost_packets_leave_a_hole_and_move_nothing(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.mkv",
        sound=clicks(4.0, [0.5, 3.5]) + 0.02 * tone(4.0),
        sound_gaps=[(1.5, 2.5)],
        audio_codec="pcm_s16le",
    )
    sound = sound_of(path)
    assert len(sound.runs) == 2
    assert onsets_s(sound, 4.0) == pytest.approx([0.5, 3.5], abs=0.002)
    pcm, exists = place(sound, origin_s=0, duration_s=4.0)
    assert (~exists).sum() / RATE_HZ == pytest.approx(1.0, abs=0.05)
    assert not pcm[~exists].any()


@pytest.mark.parametrize("clock", [0.998, 1.002])
def test_a_drifting_microphone_is_measured_and_stretched_to_its_timestamps(tmp_path: Path, clock: float) -> None:
    marks = [1.0, 10.0, 19.0]
    path = write_clip(tmp_path / "a.mkv", sound=clicks(20.0, marks), sound_clock=clock, audio_codec="pcm_s16le")
    sound = sound_of(path)
    assert sound.drift_s_per_min == pytest.approx(60 * (1 / clock - 1), abs=0.01)
    assert onsets_s(sound, 20.0 * max(clock, 1)) == pytest.approx([clock * mark for mark in marks], abs=0.005)


def test_a_steady_clock_has_no_drift(tmp_path: Path) -> None:
    assert sound_of(write_clip(tmp_path / "a.mp4", sound=tone(5.0, 44_100), sound_rate_hz=44_100)).drift_s_per_min == 0


def test_more_sound_than_allowed_is_refused_while_decoding(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.aac", sound=tone(6.0))  # a raw stream: its header promises no duration
    with pytest.raises(MediaError) as caught:
        sound_of(path, MediaLimits(max_duration_s=2.0))
    assert caught.value.code == "too-long"


def test_levels_count_only_samples_that_exist() -> None:
    pcm = np.zeros(3200, dtype=np.int16)
    pcm[:800] = 16384
    exists = np.zeros(3200, dtype=bool)
    exists[:800] = True
    exists[1600:] = True
    grid = Grid(rate_hz=10.0, num_steps=2)
    level, present = levels_dbfs(pcm, exists, RATE_HZ, grid.starts_s, 0.1)
    assert level[0] == pytest.approx(20 * np.log10(0.5))
    assert level[1] == -np.inf
    assert present.tolist() == [0.5, 1.0]


def test_sound_beside_a_picture_is_found(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(100)] * 25, sound=tone(1.0))
    assert sound_of(path).end_s == pytest.approx(1.0, abs=0.03)


def pushed(frames: list[tuple[np.ndarray, int | None]], rate_hz: int = RATE_HZ) -> Sound | None:
    """What the collector makes of frames of floating-point samples with these timestamps, in samples."""
    collector = SoundCollector(rate_hz=RATE_HZ, limits=MediaLimits(), where="t")
    for samples, stamp in frames:
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), stamp
        collector.push(frame)
    return collector.finish(damaged_packets=0, declared_end_s=None, codec_frame_s=0.0)


def test_sound_without_timestamps_goes_on_where_it_was() -> None:
    sound = pushed([(tone(0.1, RATE_HZ), None), (tone(0.1, RATE_HZ), None), (tone(0.1, RATE_HZ), 4000)])
    assert sound is not None
    assert [(run.start_s, run.pcm.size) for run in sound.runs] == [(0.0, 3200), (0.25, 1600)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_frame_that_holds_no_sound_is_a_hole(value: float) -> None:
    bad = tone(0.1, RATE_HZ)
    bad[7] = value
    sound = pushed([(tone(0.1, RATE_HZ), 0), (bad, 1600), (tone(0.1, RATE_HZ), 3200)])
    assert sound is not None
    assert sound.damaged_packets == 1
    assert [(run.start_s, run.pcm.size) for run in sound.runs] == [(0.0, 1600), (0.2, 1600)]
    assert pushed([(bad, 0)]) is None


@pytest.mark.parametrize("rate_hz", [1, 999, 768_001, 4_000_000])
def test_a_rate_of_no_recording_is_refused(rate_hz: int) -> None:
    with pytest.raises(MediaError) as caught:
        pushed([(tone(0.1, RATE_HZ), 0)], rate_hz)
    assert caught.value.code == "sample-rate"


def test_timestamps_that_jump_at_every_frame_are_refused() -> None:
    with pytest.raises(MediaError) as caught:
        pushed([(np.zeros(16), 4000 * (k % 2)) for k in range(MAX_RUNS + 2)])
    assert caught.value.code == "timestamps"
