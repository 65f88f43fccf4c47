from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.alignment.faces.av_offset import AvOffset, estimate, multiple_correlation
from components.alignment.faces.envelope import RATE_HZ, Envelope
from components.alignment.faces.lips import Lips
from components.alignment.quality import av_offset_notes
from components.contracts.config import Alignment
from components.contracts.records import AlignedClip
from tests.alignment.media import write_clip
from tests.alignment.talking import FPS, listener, pictures_of, talkers, twice, voice_of
from tests.alignment.talking import RATE_HZ as VOICE_HZ
from tests.builders import make_clip

TOLERANCE_S = 0.06


def mouth_of(opening: np.ndarray, *, noise: float = 0.0) -> Lips:
    """Lips at FPS that show an opening, 0 … 1, drawn as a dark ellipse's worth of middle."""
    rng = np.random.default_rng(0)
    lips = Lips()
    for k, share in enumerate(opening):
        mouth = np.full((28, 48), 150.0)
        mouth[10 : 10 + round(14 * share), 16:32] = 40.0
        lips.add(k / FPS, (mouth + noise * rng.standard_normal(mouth.shape)).astype(np.float32))
    return lips


def syllables(seconds: float, seed: int = 0) -> np.ndarray:
    """An opening at FPS: words of two to four syllables at about 4 Hz, with pauses."""
    rng = np.random.default_rng(seed)
    track = np.zeros(round(seconds * FPS))
    at = 0.3
    while at < seconds:
        for _ in range(int(rng.integers(2, 5))):
            length = rng.uniform(0.18, 0.3)
            k = np.arange(int(at * FPS), min(int((at + length) * FPS), track.size))
            track[k] = np.sin(np.pi * (k / FPS - at) / length).clip(0, 1) * rng.uniform(0.5, 1)
            at += length
        at += rng.uniform(0.2, 0.7)
    return track


def level_of(opening: np.ndarray, late_s: float, seed: int = 1) -> Envelope:
    count = round(opening.size * RATE_HZ / FPS)
    at = (np.arange(count) + 0.5) / RATE_HZ - late_s
    level = np.interp(at, np.arange(opening.size) / FPS, opening, left=0.0, right=0.0)
    return Envelope(level_db=-40 + 30 * level + np.random.default_rng(seed).normal(0, 2, count))


@pytest.mark.parametrize("late_s", [-0.7, -0.12, 0.0, 0.05, 0.33, 0.8])
def test_a_planted_offset_is_found(late_s: float) -> None:
    opening = syllables(8.0)
    found = estimate(mouth_of(opening, noise=3.0), level_of(opening, late_s))
    assert found is not None
    assert found.offset_s == pytest.approx(late_s, abs=0.03)
    assert found.error_s < 0.1
    assert found.correlation > 0.5


def test_unrelated_lips_are_rarely_taken_for_an_offset() -> None:
    found = [
        estimate(mouth_of(syllables(6.0, seed), noise=3.0), level_of(syllables(6.0, seed + 100), 0.0))
        for seed in range(20)
    ]
    assert sum(one is not None for one in found) <= 2


def test_a_still_mouth_and_a_short_clip_say_nothing() -> None:
    opening = syllables(8.0)
    assert estimate(mouth_of(np.zeros(200), noise=3.0), level_of(opening, 0.0)) is None
    assert estimate(mouth_of(opening[:50]), level_of(opening[:50], 0.0)) is None
    assert estimate(Lips(), level_of(opening, 0.0)) is None


def test_more_than_a_second_apart_is_not_guessed() -> None:
    opening = syllables(10.0)
    assert estimate(mouth_of(opening), level_of(opening, 1.6)) is None


def test_the_multiple_correlation_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((400, 3))
    y = x @ [1.0, -0.5, 0.0] + rng.standard_normal(400)
    rows = np.column_stack([np.ones(400), x, y])
    fitted = rows[:, :-1] @ np.linalg.lstsq(rows[:, :-1], y, rcond=None)[0]
    assert multiple_correlation((rows.T @ rows)[None])[0] == pytest.approx(np.corrcoef(fitted, y)[0, 1], abs=0.02)


def test_the_note_says_how_sure_and_that_nothing_was_changed() -> None:
    assert av_offset_notes(None) == []
    assert av_offset_notes(AvOffset(offset_s=0.1, error_s=0.01, correlation=0.8)) == []
    assert av_offset_notes(AvOffset(offset_s=0.2, error_s=0.14, correlation=0.8)) == []
    (note,) = av_offset_notes(AvOffset(offset_s=-0.3, error_s=0.05, correlation=0.8))
    assert note == "the sound seems to come 0.30 s (± 0.05) before the lips; not corrected"


def aligned(aligner: Aligner, path: Path, plan: object, late_s: float, face: object = None) -> AlignedClip:
    write_clip(
        path,
        pictures=pictures_of(face or plan, plan.duration_s),
        fps=FPS,
        sound=voice_of(plan, late_s=late_s),
        sound_rate_hz=VOICE_HZ,
    )
    return aligner.align(make_clip(video_path=path.name), root=path.parent)


@pytest.mark.parametrize(("talker", "late_s"), [(0, 0.0), (1, -0.3), (2, 0.4), (3, 0.0), (4, -0.3), (5, 0.4)])
def test_on_ten_seconds_of_a_rendered_person_it_is_right(
    aligner: Aligner, tmp_path: Path, talker: int, late_s: float
) -> None:
    clip = aligned(aligner, tmp_path / "a.mp4", twice(talkers(6)[talker]), late_s)
    assert clip.quality.offset_s == pytest.approx(0.0, abs=0.03), "the container says nothing of it"
    assert clip.quality.av_offset_s == pytest.approx(late_s, abs=TOLERANCE_S)
    assert 0.0 < clip.quality.av_offset_error_s <= 0.15
    noted = [note for note in clip.quality.notes if note.endswith("the lips; not corrected")]
    assert len(noted) == (late_s != 0)


def test_it_moves_nothing_and_can_be_switched_off(aligner: Aligner, tmp_path: Path) -> None:
    plan = twice(talkers(6)[2])
    late = aligned(aligner, tmp_path / "late.mp4", plan, 0.4)
    assert late.quality.av_offset_s == pytest.approx(0.4, abs=TOLERANCE_S)
    off = Aligner(Alignment(av_offset=False)).align(make_clip(video_path="late.mp4"), root=tmp_path)
    assert off.quality.av_offset_s is None
    assert off.quality.av_offset_error_s is None
    assert np.array_equal(off.pcm, late.pcm)
    assert off.face_jpeg == late.face_jpeg


def test_who_says_nothing_has_no_offset(aligner: Aligner, tmp_path: Path) -> None:
    plan = talkers(6)[1]
    clip = aligned(aligner, tmp_path / "a.mp4", plan, 0.0, face=listener(plan))
    assert clip.quality.speech_fraction > 0.2
    assert clip.quality.av_offset_s is None
