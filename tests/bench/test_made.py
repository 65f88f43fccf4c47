from __future__ import annotations

import numpy as np

from bench.made import aligned_clip, cases, spec, widths_of, window_of
from components.contracts.config import MODALITIES
from components.features.registry import create


def test_widths_are_those_of_the_default_encoders() -> None:
    assert tuple(widths_of()) == MODALITIES
    assert widths_of(("voice",)) == {"voice": create("whisper-tiny", "voice").width}


def test_cases_fit_the_spec() -> None:
    widths = {"face": 5, "voice": 3}
    made = cases(10, steps=7, widths=widths)
    assert spec(widths).modalities == widths
    for case in made:
        assert {name: values.shape for name, values in case.features.items()} == {"face": (7, 5), "voice": (7, 3)}
        assert case.usable
    assert {case.clip_label for case in made} == set(range(len(spec(widths).classes)))


def test_a_window_holds_the_pictures_and_the_sound_of_its_steps() -> None:
    clip = aligned_clip(1, steps=60, rate_hz=30.0)
    assert len(set(clip.face_jpeg)) == 60
    window = window_of(clip, 15, 30)
    assert window.grid.num_steps == 30
    assert window.face_jpeg == clip.face_jpeg[15:45]
    assert np.array_equal(window.pcm, clip.pcm[8000:24000])
    assert {name: mask.size for name, mask in window.masks.items()} == {"face": 30, "voice": 30}


def test_equal_numbers_make_equal_clips() -> None:
    one, again, other = (aligned_clip(index, steps=3, rate_hz=30.0) for index in (0, 0, 1))
    assert one.face_jpeg == again.face_jpeg
    assert one.content_sha256 == again.content_sha256 != other.content_sha256
