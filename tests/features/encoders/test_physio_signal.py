from __future__ import annotations

import numpy as np
import pytest

from components.features.encoders.physio_signal import NAMES, PhysioSignal, known_channels
from tests.builders import make_aligned_clip

SECONDS = 20
SAMPLES = 64 * SECONDS
TIME_S = np.arange(SAMPLES) / 64


def encode(physio: dict[str, np.ndarray], mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    steps = 10 * SECONDS
    clip = make_aligned_clip(
        steps=steps,
        physio={name: values.astype(np.float32) for name, values in physio.items()},
        masks={"physio": np.ones(steps, bool) if mask is None else mask},
    )
    (encoded,) = PhysioSignal().encode([clip])
    assert encoded.values.shape == (steps, len(NAMES))
    assert np.isfinite(encoded.values).all()
    return {**dict(zip(NAMES, encoded.values.T, strict=True)), "valid": encoded.valid}


def test_every_channel_is_used_and_the_width_is_fixed() -> None:
    import neurokit2

    ecg = neurokit2.ecg_simulate(duration=SECONDS, sampling_rate=64, heart_rate=72, random_state=0)[:SAMPLES]
    found = encode({"ecg": ecg, "eda": 2 + 0.05 * TIME_S, "resp": np.sin(2 * np.pi * 0.25 * TIME_S)})
    assert found["valid"].all()
    assert np.median(found["heart_rate_bpm"]) == pytest.approx(72, rel=0.05)
    np.testing.assert_allclose(found["breath_rate_hz"][50:150], 0.25, rtol=0.1)
    np.testing.assert_allclose(found["eda_tonic_slope"][80:120], 0.05, rtol=0.2)
    for name in ("heart_present", "eda_present", "breath_present"):
        assert found[name].all()
    for name in ("temperature_present", "muscle_present", "temperature_change", "muscle_log_rms"):
        assert not found[name].any()


def test_a_skin_response_is_phasic() -> None:
    response = np.where(TIME_S > 10, (TIME_S - 10) * np.exp(-(TIME_S - 10) / 1.5), 0.0)
    found = encode({"gsr": 3 + response})
    assert 10.3 < found["eda_phasic"].argmax() / 10 < 13.0
    assert 9.5 < found["eda_phasic_slope"].argmax() / 10 < 11.5
    assert found["eda_activity"][110] > 5 * found["eda_activity"][40]


def test_the_pulse_stands_in_for_an_ecg_without_beats() -> None:
    import neurokit2

    ppg = neurokit2.ppg_simulate(duration=SECONDS, sampling_rate=64, heart_rate=90, random_state=0)[:SAMPLES]
    found = encode({"ecg": np.zeros(SAMPLES), "bvp": ppg})
    assert np.median(found["heart_rate_bpm"]) == pytest.approx(90, rel=0.06)


def test_temperature_and_muscle() -> None:
    burst = np.random.default_rng(0).standard_normal(SAMPLES) * np.where(TIME_S > 10, 10.0, 1.0)
    found = encode({"temp": 33 + 0.01 * TIME_S, "emg": burst})
    assert found["temperature_change"][150] > found["temperature_change"][50] > 0
    np.testing.assert_allclose(found["temperature_slope"][50:150], 0.01, rtol=0.05)
    rise = found["muscle_log_rms"][120:180].mean() - found["muscle_log_rms"][20:80].mean()
    assert rise == pytest.approx(np.log(10), abs=0.25)


def test_gaps_are_bridged_and_unknown_channels_ignored() -> None:
    eda = 2 + 0.05 * TIME_S
    eda[300:400] = np.nan
    gapped, whole = encode({"eda": eda}), encode({"eda": 2 + 0.05 * TIME_S})
    np.testing.assert_allclose(gapped["eda_tonic"], whole["eda_tonic"], atol=1e-4)
    assert known_channels({"magic": np.ones(100, np.float32)}) == {}
    assert not encode({"magic": np.ones(SAMPLES)})["valid"].any()
    assert known_channels({"eda": np.full(100, np.nan, np.float32)}) == {}


def test_the_mask_wins_and_a_short_channel_ends() -> None:
    mask = np.arange(200) >= 20
    found = encode({"eda": 2 + 0.1 * TIME_S[:640]}, mask)
    assert not found["valid"][:20].any()
    assert found["valid"][20:100].all()
    assert not found["valid"][101:].any()


def test_a_short_clip_is_finite() -> None:
    (encoded,) = PhysioSignal().encode([make_aligned_clip(steps=3)])
    assert encoded.values.shape == (3, len(NAMES))
    assert np.isfinite(encoded.values).all()
    (absent,) = PhysioSignal().encode([make_aligned_clip(physio={})])
    assert not absent.valid.any()
