from __future__ import annotations

import numpy as np
import pytest
import soundfile

from components.alignment.vad import Energy, Silero, create_activity
from components.contracts.config import VoiceAlignment
from components.contracts.timebase import Grid

RATE_HZ = 16_000


def babble(seconds: float, seed: int = 0) -> np.ndarray:
    """Voiced sound in syllables: harmonics of a gliding pitch through three formants, int16."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch = 130 + 25 * np.sin(2 * np.pi * 0.7 * time_s) + 10 * np.sin(2 * np.pi * 2.3 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    first = 550 + 200 * np.sin(2 * np.pi * 2.1 * time_s)
    second = 1500 + 500 * np.sin(2 * np.pi * 1.7 * time_s + 1)
    signal = np.zeros_like(time_s)
    for harmonic in range(1, 25):
        hz = harmonic * pitch
        gain = sum(a / (1 + ((hz - f) / 90) ** 2) for f, a in ((first, 1.0), (second, 0.5), (2600.0, 0.25)))
        signal += gain * np.sin(harmonic * phase)
    signal *= 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s)
    signal = 0.3 * signal / np.abs(signal).max() + 0.001 * rng.standard_normal(time_s.size)
    return (signal * 32767).astype(np.int16)


def speech_between(first_s: float, last_s: float, total_s: float) -> tuple[np.ndarray, Grid]:
    pcm = (0.0005 * 32767 * np.random.default_rng(3).standard_normal(round(total_s * RATE_HZ))).astype(np.int16)
    part = babble(last_s - first_s)
    pcm[round(first_s * RATE_HZ) : round(first_s * RATE_HZ) + part.size] += part
    return pcm, Grid.covering(total_s, 10.0)


@pytest.mark.parametrize("activity", [Silero(), Energy()], ids=["silero", "energy"])
def test_speech_is_found_where_it_is(activity: Silero | Energy) -> None:
    pcm, grid = speech_between(1.0, 3.0, 5.0)
    speech = activity.speech(pcm, grid)
    assert speech.shape == (50,)
    assert speech.dtype == np.float32
    assert speech[12:28].mean() > 0.6
    assert speech[:9].max() < 0.4
    assert speech[35:].max() < 0.4


@pytest.mark.parametrize("activity", [Silero(), Energy()], ids=["silero", "energy"])
def test_silence_and_odd_lengths(activity: Silero | Energy) -> None:
    for size in (1, 511, 513, 8000):
        speech = activity.speech(np.zeros(size, dtype=np.int16), Grid.covering(size / RATE_HZ, 10.0))
        assert (speech < 0.2).all()


def test_steady_noise_is_no_speech_for_silero() -> None:
    noise = (3000 * np.random.default_rng(0).standard_normal(3 * RATE_HZ)).astype(np.int16)
    assert Silero().speech(noise, Grid.covering(3.0, 10.0)).max() < 0.5


def test_each_clip_starts_from_a_fresh_state() -> None:
    activity = Silero()
    pcm, grid = speech_between(0.5, 1.5, 2.0)
    first = activity.speech(pcm, grid)
    activity.speech(babble(2.0, seed=5), grid)
    assert np.array_equal(activity.speech(pcm, grid), first)


def test_choices_by_name() -> None:
    assert isinstance(create_activity(VoiceAlignment()), Silero)
    assert isinstance(create_activity(VoiceAlignment(activity="energy")), Energy)


@pytest.mark.integration
def test_real_recordings_are_mostly_speech_between_their_silences(shared_data) -> None:
    activity = Silero()
    for path in sorted((shared_data / "ravdess" / "Actor_01").glob("*.flac"))[::12]:
        pcm, rate = soundfile.read(path, dtype="int16")
        assert rate == RATE_HZ
        speech = activity.speech(pcm, Grid.covering(pcm.size / RATE_HZ, 10.0))
        assert 0.15 < (speech > 0.5).mean() < 0.95
        assert speech[:3].max() < 0.5
