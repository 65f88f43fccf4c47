from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.contracts.records import Clip, GivenFeatures
from components.datasets.given_check import check_given
from tests.builders import make_clip


def bringing(name: str, *modalities: str, rate_hz: float | None = 25.0, end_s: float | None = None) -> Clip:
    given = tuple(
        GivenFeatures(modality=modality, path=f"{modality}.npz", key=name, rate_hz=rate_hz, end_s=end_s)
        for modality in modalities
    )
    return make_clip(name, given=given)


def modalities(clip: Clip) -> list[str]:
    return [one.modality for one in clip.given]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "voice.npz", a=np.ones((4, 3)), b=np.ones((4, 3)), c=np.ones((4, 3)))
    return tmp_path


def test_a_clip_is_used_without_the_array_that_cannot_be(folder: Path) -> None:
    broken = np.ones((4, 2))
    broken[3] = np.nan
    np.savez(folder / "face.npz", a=np.ones((4, 2)), b=broken)
    checked = check_given([bringing("a", "face", "voice"), bringing("b", "face", "voice")], folder)
    assert [modalities(clip) for clip in checked.clips] == [["face", "voice"], ["voice"]]
    [row] = checked.quarantined
    assert (row.clip_id, row.field, row.code, row.path) == ("tiny/b", "face", "not-finite", "face.npz")
    assert "the first at step 3" in row.message
    assert "without this modality" in row.message
    assert set(checked.hashes) == {one for clip in checked.clips for one in clip.given}


def test_an_array_of_another_width_than_the_others_is_set_aside(folder: Path) -> None:
    np.savez(folder / "face.npz", a=np.ones((4, 2)), b=np.ones((9, 2)), c=np.ones((4, 5)))
    checked = check_given([bringing(name, "face", "voice") for name in "abc"], folder)
    assert [modalities(clip) for clip in checked.clips] == [["face", "voice"], ["face", "voice"], ["voice"]]
    [row] = checked.quarantined
    assert (row.clip_id, row.field, row.code, row.seen, row.allowed) == ("tiny/c", "face", "width", "5", "2")


def test_samples_that_nothing_places_in_time_are_set_aside(folder: Path) -> None:
    clips = [
        bringing("a", "voice", rate_hz=None),
        bringing("b", "voice", rate_hz=None, end_s=2.0),
        bringing("c", "voice"),
    ]
    checked = check_given(clips, folder)
    assert [modalities(clip) for clip in checked.clips] == [[], ["voice"], ["voice"]]
    [row] = checked.quarantined
    assert (row.clip_id, row.code) == ("tiny/a", "no-rate")
    assert "features.json" in row.message


def test_clips_that_bring_nothing_are_left_as_they_are(tmp_path: Path) -> None:
    clip = make_clip("a", audio_path="a.wav")
    checked = check_given([clip], tmp_path)
    assert checked.clips == (clip,)
    assert checked.hashes == {}
