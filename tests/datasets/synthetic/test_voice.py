from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from components.datasets.synthetic.plan import ClipPlan, DisplayPart
from components.datasets.synthetic.voice import MANNERS, RATE_HZ, speak


def voiced(plan: ClipPlan, emotion: str) -> ClipPlan:
    part = DisplayPart(start_s=0.0, end_s=plan.duration_s, emotion=emotion)
    return replace(plan, voiced=(part,), intensity=1.0, flaw=None)


def pitch_hz(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Pitch of the voiced frames by autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(float), 640)[::320]
    frames = frames[np.sqrt((frames**2).mean(axis=1)) > 0.3 * samples.std()]
    frames = frames - frames.mean(axis=1, keepdims=True)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2)[:, :320]
    low, high = RATE_HZ // 450, RATE_HZ // 70
    peak = correlation[:, low:high].argmax(axis=1) + low
    clear = correlation[np.arange(len(peak)), peak] > 0.5 * correlation[:, 0]
    return RATE_HZ / peak[clear]


def test_a_clip_sounds_the_same_every_time_and_lasts_as_planned(plans: list[ClipPlan]) -> None:
    first, again = speak(plans[0]), speak(plans[0])
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.int16
    assert first.size == round(plans[0].duration_s * RATE_HZ)
    assert np.abs(first).max() > 2000


@pytest.mark.parametrize(
    ("first", "second"), [("anger", "surprise"), ("happiness", "other"), ("fear", "sadness"), ("neutral", "disgust")]
)
def test_confused_emotions_have_the_very_same_voice(plans: list[ClipPlan], first: str, second: str) -> None:
    np.testing.assert_array_equal(speak(voiced(plans[0], first)), speak(voiced(plans[0], second)))


def test_signs_sound_as_their_table_says(plans: list[ClipPlan]) -> None:
    emotions = {"flat": "neutral", "forceful": "anger", "lively": "happiness", "thin": "fear"}
    assert set(emotions) == set(MANNERS)
    level: dict[str, list[float]] = {sign: [] for sign in emotions}
    pitch: dict[str, list[float]] = {sign: [] for sign in emotions}
    spread: dict[str, list[float]] = {sign: [] for sign in emotions}
    for plan in plans[:80:10]:  # over several clips: each has its own distance to the microphone
        for sign, emotion in emotions.items():
            samples = speak(voiced(plan, emotion))
            hertz = pitch_hz(samples)
            level[sign].append(float(np.log(samples.astype(float).std())))
            pitch[sign].append(float(np.median(hertz)))
            spread[sign].append(float(np.log(hertz).std()))
    mean = {sign: float(np.mean(values)) for sign, values in level.items()}
    assert mean["forceful"] > mean["lively"] > mean["thin"]
    assert np.mean(pitch["forceful"]) > 1.2 * np.mean(pitch["flat"])
    assert np.mean(pitch["lively"]) > 1.1 * np.mean(pitch["flat"])
    assert np.mean(spread["lively"]) > 1.5 * np.mean(spread["flat"])


def test_women_speak_higher_than_men_and_a_person_keeps_their_pitch(plans: list[ClipPlan]) -> None:
    medians = {
        plan.name: float(np.median(pitch_hz(speak(voiced(plan, "neutral"))))) for plan in (plans[0], plans[1], plans[8])
    }
    assert medians["s000_c00"] > 1.25 * medians["s001_c00"]
    assert medians["s000_c00"] == pytest.approx(medians["s000_c01"], rel=0.12)


def test_there_is_sound_where_there_are_words(plans: list[ClipPlan]) -> None:
    samples = speak(voiced(plans[0], "neutral")).astype(float)
    words = plans[0].words
    inside = samples[int(words[0].start_s * RATE_HZ) : int(words[0].end_s * RATE_HZ)]
    before = samples[: int((words[0].start_s - 0.08) * RATE_HZ)]
    assert inside.std() > 4 * before.std()


def test_planted_flaws_are_in_the_sound(plans: list[ClipPlan]) -> None:
    plan = replace(voiced(plans[0], "neutral"), flaw_start_s=1.5, flaw_end_s=2.5)
    clean = speak(plan).astype(float)
    assert not speak(replace(plan, flaw="silent_sound")).any()
    dropped = speak(replace(plan, flaw="sound_dropout"))
    assert not dropped[int(1.5 * RATE_HZ) + 1 : int(2.5 * RATE_HZ) - 1].any()
    assert dropped[: int(1.5 * RATE_HZ)].any()
    drowned = speak(replace(plan, flaw="drowned_sound")).astype(float)
    assert abs(np.corrcoef(clean, drowned)[0, 1]) < 0.4
