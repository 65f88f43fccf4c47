from __future__ import annotations

import numpy as np
import pytest

from components.features.encoders.audio import TARGET_RMS, has_voice, level_normalised
from tests.builders import make_aligned_clip


@pytest.mark.parametrize("gain", [0.01, 0.3, 1.0])
def test_every_recording_has_one_level(gain: float) -> None:
    clip = make_aligned_clip()
    wave = level_normalised(make_aligned_clip(pcm=(clip.pcm * gain + 200).astype(np.int16)))
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(TARGET_RMS, rel=1e-3)
    assert wave.mean() == pytest.approx(0.0, abs=1e-4)


def test_only_valid_steps_set_the_level() -> None:
    clip = make_aligned_clip(steps=20)
    pcm = clip.pcm.copy()
    pcm[16000:] = 0
    mask = np.arange(20) < 10
    wave = level_normalised(make_aligned_clip(steps=20, pcm=pcm, masks={"voice": mask}))
    assert np.sqrt(np.mean(wave[:16000] ** 2)) == pytest.approx(TARGET_RMS, rel=1e-3)


def test_loudness_within_a_clip_stays() -> None:
    clip = make_aligned_clip(steps=20)
    pcm = clip.pcm.astype(np.float64)
    pcm[:16000] *= 0.25
    wave = level_normalised(make_aligned_clip(steps=20, pcm=pcm.astype(np.int16)))
    ratio = np.sqrt(np.mean(wave[:16000] ** 2) / np.mean(wave[16000:] ** 2))
    assert ratio == pytest.approx(0.25, rel=0.02)


def test_digital_silence_and_absence() -> None:
    assert not level_normalised(make_aligned_clip(pcm=np.zeros(32000, np.int16))).any()
    assert level_normalised(make_aligned_clip(pcm=np.zeros(0, np.int16))).size == 0
    assert not has_voice(make_aligned_clip(pcm=np.zeros(0, np.int16)))
    assert not has_voice(make_aligned_clip(masks={}))
    assert has_voice(make_aligned_clip())
