from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.alignment import vad
from components.alignment.align import Aligner
from components.alignment.faces import mtcnn
from components.contracts.config import Alignment
from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip, Clip, GivenFeatures, Segment
from tests.alignment.media import tone, wav
from tests.builders import make_clip

ONES = np.ones((1, 2), dtype=np.float32)


def piece(modality: str = "face", key: str = "a", **fields: float | None) -> GivenFeatures:
    return GivenFeatures(modality=modality, path=f"{modality}.npz", key=key, **fields)  # type: ignore[arg-type]


def aligned(root: Path, *given: GivenFeatures, rate_hz: float = 10.0, **fields: object) -> AlignedClip:
    clip: Clip = make_clip("a", given=given, **fields)
    return Aligner(Alignment(rate_hz=rate_hz), media=False).align(clip, root=root)


def ramp(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None]


def test_samples_faster_than_the_grid_are_averaged_over_each_step(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=ramp(100))
    found = aligned(tmp_path, piece(rate_hz=50.0))
    assert found.grid.num_steps == 20
    assert found.quality.duration_s == pytest.approx(2.0)
    assert np.allclose(found.given["face"][:, 0], 2.0 + 5.0 * np.arange(20))
    assert found.masks["face"].all()
    assert found.quality.coverage["face"] == 1.0


def test_samples_slower_than_the_grid_hold_and_straddle_by_their_share(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=ramp(3))
    found = aligned(tmp_path, piece(rate_hz=4.0))  # 0.25 s each, on steps of 0.1 s
    assert np.allclose(found.given["face"][:, 0], [0, 0, 0.5, 1, 1, 2, 2, 2])


def test_samples_without_a_rate_are_spread_over_their_stretch(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=ramp(4))
    found = aligned(tmp_path, piece(end_s=0.8))
    assert found.given["face"][:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_single_sample_holds_throughout(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=np.array([[4.0, 5.0]]))
    np.savez(tmp_path / "voice.npz", a=ramp(30))
    found = aligned(tmp_path, piece(), piece("voice", rate_hz=10.0))
    assert found.given["face"].tolist() == [[4.0, 5.0]] * 30
    assert found.masks["face"].all()


def test_a_clip_of_single_samples_alone_is_one_step(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=ONES)
    found = aligned(tmp_path, piece())
    assert found.grid.num_steps == 1
    assert found.quality.duration_s == pytest.approx(0.1)


def test_samples_lie_where_their_times_say_and_gaps_are_masked(tmp_path: Path) -> None:
    rows = {"clip_id": ["a"], "values": [[[1.0], [2.0], [3.0]]], "times": [[0.0, 0.2, 0.4]]}
    pq.write_table(pa.table(rows), tmp_path / "face.parquet")
    np.savez(tmp_path / "voice.npz", a=ramp(10))
    one = GivenFeatures(modality="face", path="face.parquet", key="a")
    found = aligned(tmp_path, one, piece("voice", rate_hz=10.0))
    assert found.given["face"][:, 0].tolist() == [1, 1, 2, 2, 3, 3, 0, 0, 0, 0]
    assert found.masks["face"].tolist() == [True] * 6 + [False] * 4
    assert found.masks["voice"].all()


def test_pieces_of_a_sequence_stand_at_their_places(tmp_path: Path) -> None:
    np.savez(tmp_path / "text.npz", u1=ONES, u2=3 * np.ones((4, 2)))
    parts = (piece("text", "u1", end_s=0.2), piece("text", "u2", start_s=0.5, end_s=0.7))
    segments = (Segment(start_s=0.0, end_s=0.2, emotion="fear"), Segment(start_s=0.5, end_s=1.0, emotion="anger"))
    found = aligned(tmp_path, *parts, segments=segments)
    assert found.grid.num_steps == 10  # a labelled stretch belongs to the clip
    assert found.masks["text"].tolist() == [True] * 2 + [False] * 3 + [True] * 2 + [False] * 3
    assert found.given["text"][[0, 5], 0].tolist() == [1, 3]


def test_untimed_utterances_take_one_step_each(tmp_path: Path) -> None:
    arrays = {f"u{number}": np.full((1, 1), float(number)) for number in range(12)}
    np.savez(tmp_path / "text.npz", **arrays)
    parts = [piece("text", f"u{n}", start_s=n * 0.1, end_s=(n + 1) * 0.1) for n in range(12)]
    found = aligned(tmp_path, *parts)
    assert np.allclose(found.given["text"][:, 0], range(12), atol=1e-5)


def test_samples_do_not_reach_beyond_the_stretch_they_are_of(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=ramp(20), b=100 + ramp(20))
    found = aligned(tmp_path, piece(rate_hz=10.0, end_s=0.5), piece(key="b", rate_hz=10.0, start_s=0.5, end_s=1.0))
    assert found.given["face"][:, 0].tolist() == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]


def test_given_features_take_the_media_clock_and_its_place(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", tone(1.0, 16_000))
    np.savez(tmp_path / "voice.npz", a=ramp(40))
    np.savez(tmp_path / "face_au.npz", a=ONES)
    clip = make_clip("a", audio_path="a.wav", given=(piece("voice", rate_hz=20.0), piece("face_au")))
    found = Aligner(Alignment()).align(clip, root=tmp_path)
    assert found.grid.num_steps == 10
    assert found.given["voice"].shape == (10, 1)
    assert found.given["face_au"].tolist() == [[1.0, 1.0]] * 10
    assert set(found.masks) == {"face", "voice", "text", "physio", "face_au"}
    assert "voice: 1.00 s of the given features lie beyond the clip" in found.quality.notes


def test_a_row_holds_them_exactly(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=np.random.default_rng(3).standard_normal((7, 5)))
    found = aligned(tmp_path, piece(rate_hz=7.0))
    back = AlignedClip.from_row(found.to_row())
    assert np.array_equal(back.given["face"], found.given["face"])
    assert found.to_row()["given_widths"] == [("face", 5)]


def test_features_alone_load_neither_detector_nor_voice_activity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("loaded for nothing")

    monkeypatch.setattr(mtcnn.Mtcnn, "__init__", forbidden)
    monkeypatch.setattr(vad.Silero, "__init__", forbidden)
    np.savez(tmp_path / "face.npz", a=ONES)
    assert aligned(tmp_path, piece()).masks["face"].all()


def test_features_are_bounded_like_media(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=ramp(100))
    with pytest.raises(MediaError) as caught:
        aligned(tmp_path, piece(rate_hz=0.01))
    assert caught.value.code == "too-long"


def test_a_file_that_changed_since_it_was_checked_is_noticed(tmp_path: Path) -> None:
    np.savez(tmp_path / "face.npz", a=ramp(4), b=np.ones((4, 2)))
    with pytest.raises(MediaError) as caught:
        aligned(tmp_path, piece(rate_hz=10.0), piece(key="b", rate_hz=10.0, start_s=0.4))
    assert caught.value.code == "width"
    with pytest.raises(MediaError, match="Run the datasets stage again") as caught:
        aligned(tmp_path, piece())
    assert caught.value.code == "no-rate"
