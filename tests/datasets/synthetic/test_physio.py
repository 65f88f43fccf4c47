from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.datasets.synthetic.physio import RATE_HZ, physiology
from components.datasets.synthetic.plan import ClipPlan, DisplayPart


def felt(plan: ClipPlan, *emotions: str, duration_s: float = 20.0) -> ClipPlan:
    edges = np.linspace(0.0, duration_s, len(emotions) + 1)
    parts = tuple(
        DisplayPart(start_s=float(edges[index]), end_s=float(edges[index + 1]), emotion=emotion)
        for index, emotion in enumerate(emotions)
    )
    return replace(plan, duration_s=duration_s, felt=parts, intensity=1.0)


def beats_per_min(ecg: np.ndarray) -> float:
    import neurokit2 as nk

    _, found = nk.ecg_peaks(ecg.astype(float), sampling_rate=RATE_HZ)
    return float(60 * RATE_HZ / np.median(np.diff(found["ECG_R_Peaks"])))


def test_the_table_has_a_clock_and_three_channels(plans: list[ClipPlan]) -> None:
    table = physiology(plans[0])
    assert table.column_names == ["time_s", "ecg", "eda", "resp"]
    assert str(table.schema.field("time_s").type) == "double"
    times = table["time_s"].to_numpy()
    np.testing.assert_allclose(np.diff(times), 1 / RATE_HZ)
    assert times[-1] == pytest.approx(plans[0].duration_s, abs=2 / RATE_HZ)
    assert physiology(plans[0]).equals(table)


def test_neurokit_reads_back_a_faster_heart_when_aroused(plans: list[ClipPlan]) -> None:
    for plan in plans[:24:8]:
        calm = beats_per_min(physiology(felt(plan, "neutral"))["ecg"].to_numpy())
        aroused = beats_per_min(physiology(felt(plan, "fear"))["ecg"].to_numpy())
        assert 50 < calm < 85
        assert calm + 15 < aroused < 115


def test_the_heart_follows_a_turn_within_the_clip(plans: list[ClipPlan]) -> None:
    ecg = physiology(felt(plans[0], "sadness", "anger", duration_s=40.0))["ecg"].to_numpy()
    half = ecg.size // 2
    assert beats_per_min(ecg[half + 2 * RATE_HZ :]) > beats_per_min(ecg[:half]) + 12


def test_confused_emotions_have_the_very_same_body(plans: list[ClipPlan]) -> None:
    assert physiology(felt(plans[0], "anger")).equals(physiology(felt(plans[0], "happiness")))
    assert not physiology(felt(plans[0], "anger")).equals(physiology(felt(plans[0], "other")))


def test_skin_responds_more_often_and_breath_goes_faster_when_aroused(plans: list[ClipPlan]) -> None:
    calm = physiology(felt(plans[0], "neutral", duration_s=60.0))
    aroused = physiology(felt(plans[0], "fear", duration_s=60.0))
    rises = [float(np.clip(np.diff(table["eda"].to_numpy()[::RATE_HZ]), 0, None).sum()) for table in (calm, aroused)]
    assert rises[1] > 2 * rises[0]
    turns = []
    for table in (calm, aroused):
        breath = np.convolve(table["resp"].to_numpy(), np.ones(32) / 32, mode="valid")
        turns.append(int((np.diff(np.sign(breath)) != 0).sum()))
    assert turns[1] > 1.25 * turns[0]
