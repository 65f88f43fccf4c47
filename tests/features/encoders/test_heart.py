from __future__ import annotations

import numpy as np
import pytest

from components.features.encoders.heart import NAMES, beats, heart_features

RATE_HZ = 64.0


@pytest.mark.parametrize("rate_bpm", [55, 75, 110])
def test_an_ecg_has_its_heart_rate(rate_bpm: int) -> None:
    import neurokit2

    ecg = neurokit2.ecg_simulate(duration=30, sampling_rate=256, heart_rate=rate_bpm, random_state=1, noise=0.05)[::4]
    found = beats(ecg, RATE_HZ, "ecg")
    assert 60 / np.median(np.diff(found)) == pytest.approx(rate_bpm, rel=0.03)
    assert len(found) == pytest.approx(rate_bpm / 2, abs=2)


@pytest.mark.parametrize("rate_bpm", [55, 75, 110])
def test_a_pulse_has_its_heart_rate(rate_bpm: int) -> None:
    import neurokit2

    ppg = neurokit2.ppg_simulate(duration=30, sampling_rate=256, heart_rate=rate_bpm, random_state=1)[::4]
    found = beats(ppg, RATE_HZ, "ppg")
    assert 60 / np.median(np.diff(found)) == pytest.approx(rate_bpm, rel=0.05)


def test_an_ecg_upside_down_has_the_same_beats() -> None:
    import neurokit2

    ecg = neurokit2.ecg_simulate(duration=20, sampling_rate=256, heart_rate=70, random_state=2)[::4]
    np.testing.assert_allclose(beats(ecg, RATE_HZ, "ecg"), beats(-ecg, RATE_HZ, "ecg"), atol=0.02)


@pytest.mark.parametrize("values", [np.zeros(640), np.full(640, 3.0), np.ones(10), np.zeros(0)])
def test_no_signal_has_no_beats(values: np.ndarray) -> None:
    assert beats(values, RATE_HZ, "ecg").size == 0
    assert beats(values, RATE_HZ, "ppg").size == 0


def test_rate_and_variability_of_known_intervals() -> None:
    intervals = np.tile([0.8, 0.9], 20)
    times = np.cumsum(intervals)
    features = heart_features(times, np.array([times[-1] / 2]))
    values = dict(zip(NAMES, features[0], strict=True))
    assert values["heart_rate_bpm"] == pytest.approx(60 / 0.85, rel=0.02)
    assert values["rmssd_s"] == pytest.approx(0.1, rel=1e-6)
    assert values["sdnn_s"] == pytest.approx(0.05, rel=0.05)
    assert values["rate_slope_bpm_per_s"] == pytest.approx(0.0, abs=0.5)
    assert values["heart_present"] == 1.0


def test_a_rate_that_rises_has_a_slope() -> None:
    rate = 60.0
    times = [0.0]
    while times[-1] < 30:
        rate = 60 + times[-1]
        times.append(times[-1] + 60 / rate)
    features = heart_features(np.array(times), np.array([15.0]))
    assert features[0, NAMES.index("rate_slope_bpm_per_s")] == pytest.approx(1.0, rel=0.1)


def test_a_missed_beat_is_left_out() -> None:
    times = np.delete(np.arange(0, 20, 0.8), 12)
    values = heart_features(times, np.array([9.6]))[0]
    assert values[NAMES.index("heart_rate_bpm")] == pytest.approx(75.0)
    assert values[NAMES.index("rmssd_s")] == pytest.approx(0.0, abs=1e-9)


def test_steps_far_from_beats_are_absent() -> None:
    features = heart_features(np.arange(0, 5, 0.8), np.array([2.0, 60.0]))
    assert features[:, -1].tolist() == [1.0, 0.0]
    assert not features[1].any()
    assert not heart_features(np.array([1.0, 2.0]), np.array([1.5])).any()
