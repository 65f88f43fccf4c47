from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.alignment.faces.envelope import RATE_HZ, Envelope
from components.alignment.faces.lips import Lips
from components.alignment.faces.speaker import find_speaker, together
from components.contracts.records import AlignedClip
from tests.alignment.media import write_clip
from tests.alignment.talking import FPS, beside, listener, pictures_of, talkers, voice_of
from tests.alignment.talking import RATE_HZ as VOICE_HZ
from tests.builders import make_clip

LOUD = Envelope(level_db=-40 + 30 * (np.arange(8 * RATE_HZ) // RATE_HZ % 2))  # a second of silence, one of sound


def moving(seconds: float, when: np.ndarray) -> Lips:
    """A mouth at FPS that moves in the seconds in which `when` is 1."""
    rng = np.random.default_rng(0)
    lips = Lips()
    still = np.full((28, 48), 150.0, dtype=np.float32)
    for k in range(round(seconds * FPS)):
        moved = when[min(int(k / FPS), when.size - 1)]
        lips.add(k / FPS, still + np.float32(30 * moved * rng.standard_normal()) + rng.normal(0, 1, still.shape))
    return lips


ODD, EVEN = np.arange(8) % 2, 1 - np.arange(8) % 2


def test_the_mouth_that_moves_with_the_sound_is_found() -> None:
    found = find_speaker([moving(8, EVEN), moving(8, ODD), moving(8, np.zeros(8))], LOUD)
    assert found.index == 1
    assert found.correlations[1] > 0.5
    assert max(found.correlations[0], found.correlations[2]) < 0.3


def test_two_that_move_alike_are_not_told_apart() -> None:
    assert find_speaker([moving(8, ODD), moving(8, ODD)], LOUD).index is None
    assert find_speaker([moving(8, EVEN), moving(8, np.zeros(8))], LOUD).index is None


def test_a_mouth_seen_too_briefly_has_no_score() -> None:
    assert np.isnan(together(moving(1.0, ODD), LOUD))
    found = find_speaker([moving(1.0, ODD), moving(8, ODD)], LOUD)
    assert found.index == 1
    assert np.isnan(found.correlations[0])


def two_people(
    aligner: Aligner, path: Path, *, talker: int, left: bool, sound: bool = True
) -> tuple[AlignedClip, float]:
    """A small person who talks beside a large one who listens; the clip, and where the chosen face is (0 … 1)."""
    talks, listens = talkers(12, picture_px=176)[talker], listener(talkers(12, picture_px=224)[talker + 1])
    pair = pictures_of(talks, talks.duration_s), pictures_of(listens, talks.duration_s)
    voice = voice_of(talks) if sound else None
    write_clip(path, pictures=beside(*(pair if left else pair[::-1])), fps=FPS, sound=voice, sound_rate_hz=VOICE_HZ)
    clip = aligner.align(make_clip(video_path=path.name), root=path.parent)
    return clip, float(np.nanmean(clip.face_box[:, [0, 2]])) / 400


@pytest.mark.parametrize(("talker", "left"), [(0, True), (1, False), (6, True), (7, False)])
def test_of_two_people_the_one_who_talks_is_used_and_the_reason_told(
    aligner: Aligner, tmp_path: Path, talker: int, left: bool
) -> None:
    clip, place = two_people(aligner, tmp_path / "a.mp4", talker=talker, left=left)
    assert (place < 0.5) == left
    assert clip.masks["face"].mean() > 0.9
    side = "left" if left else "right"
    (note,) = (note for note in clip.quality.notes if "faces seen" in note)
    assert note.startswith(f"2 faces seen; the {side} one speaks: mouth motion correlates 0.")
    assert ", the other " in note


def test_without_speech_the_larger_one_is_used_and_that_is_told_too(aligner: Aligner, tmp_path: Path) -> None:
    clip, place = two_people(aligner, tmp_path / "a.mp4", talker=0, left=True, sound=False)
    assert place > 0.5
    assert (
        "2 faces seen; the largest, longest and most central one is used, since nobody is heard to speak"
        in clip.quality.notes
    )
