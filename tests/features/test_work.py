from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.errors import DataError
from components.contracts.records import ALIGNED_SCHEMA, AlignedClip
from components.features.work import MODALITY_COLUMNS, given_widths, plan, read_clips, scan
from tests.builders import make_aligned_clip

FINGERPRINTS = {"face": "f", "voice": "v", "text": "t", "physio": "p"}


def write(folder: Path, clips: list[AlignedClip], *, row_group_size: int = 3, name: str = "shard-0") -> None:
    folder.mkdir(exist_ok=True)
    table = pa.Table.from_pylist([clip.to_row() for clip in clips], ALIGNED_SCHEMA)
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=row_group_size)


def corpus(count: int) -> list[AlignedClip]:
    return [make_aligned_clip(f"{index:02d}", seed=index) for index in range(count)]


def test_clips_are_found_by_id_with_their_place(tmp_path: Path) -> None:
    clips = corpus(5)
    write(tmp_path, clips[::-1])
    found = scan(tmp_path)
    assert [clip.clip_id for clip in found] == [clip.clip_id for clip in clips]
    assert [(clip.row_group, clip.row) for clip in found] == [(1, 1), (1, 0), (0, 2), (0, 1), (0, 0)]
    assert found[0].duration_s == 2.0
    assert found[0].present == {"face", "voice", "text", "physio"}


def test_a_modality_without_a_valid_step_has_no_key(tmp_path: Path) -> None:
    clip = make_aligned_clip()
    write(tmp_path, [make_aligned_clip(masks={**clip.masks, "voice": np.zeros(20, bool), "text": clip.masks["text"]})])
    (found,) = scan(tmp_path)
    assert set(found.keys(FINGERPRINTS)) == {"face", "text", "physio"}
    assert set(found.keys({"voice": "v", "face": "f"})) == {"face"}


def test_a_clip_twice_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a", corpus(1))
    write(tmp_path / "a", corpus(1), name="shard-1")
    with pytest.raises(DataError, match="aligned twice; seen 'tiny/00'"):
        scan(tmp_path / "a")
    with pytest.raises(DataError, match="no aligned clips"):
        scan(tmp_path / "b")


def test_only_what_is_missing_is_planned(tmp_path: Path) -> None:
    write(tmp_path, corpus(4))
    clips = scan(tmp_path)
    held = {
        "face": {clip.keys(FINGERPRINTS)["face"] for clip in clips},
        "voice": {clips[2].keys(FINGERPRINTS)["voice"]},
    }
    tasks = plan(clips, {"face": "f", "voice": "v"}, held, max_clips=2)
    assert [[(row, modality) for row, modality, _ in task.items] for task in tasks] == [
        [(0, "voice"), (1, "voice")],
        [(0, "voice")],
    ]
    assert [task.row_group for task in tasks] == [0, 1]
    everything = {name: {clip.keys(FINGERPRINTS)[name] for clip in clips} for name in FINGERPRINTS}
    assert plan(clips, FINGERPRINTS, everything, max_clips=2) == []


def test_equal_content_is_planned_once(tmp_path: Path) -> None:
    write(tmp_path, [make_aligned_clip("a"), make_aligned_clip("b")])
    assert sum(task.clips for task in plan(scan(tmp_path), FINGERPRINTS, {}, max_clips=8)) == 1


def test_clips_are_read_whole_in_batches(tmp_path: Path) -> None:
    clips = corpus(7)
    write(tmp_path, clips, row_group_size=7)
    (task,) = plan(scan(tmp_path), FINGERPRINTS, {}, max_clips=10)
    batches = list(read_clips(task, batch_clips=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    for clip, (found, keys) in zip(clips, [item for batch in batches for item in batch], strict=True):
        assert found.to_row() == clip.to_row()
        assert set(keys) == set(FINGERPRINTS)


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = corpus(6)
    write(tmp_path, clips, row_group_size=6)
    seen: list[set[str]] = []
    original = pq.ParquetFile.iter_batches

    def spy(self: pq.ParquetFile, *args: object, columns: list[str], **kwargs: object) -> object:
        seen.append(set(columns))
        return original(self, *args, columns=columns, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    scanned = scan(tmp_path)
    tasks = plan([scanned[1], scanned[4]], {"text": "t"}, {}, max_clips=10)
    found = [clip for task in tasks for batch in read_clips(task, batch_clips=4) for clip, _ in batch]
    assert [clip.clip_id for clip in found] == ["tiny/01", "tiny/04"]
    assert found[0].words == clips[1].words
    assert found[0].pcm.size == 0
    (columns,) = seen
    assert columns.isdisjoint({*MODALITY_COLUMNS["face"], *MODALITY_COLUMNS["voice"]})


def bringing(name: str, **given: int) -> AlignedClip:
    """A clip with media and given features of some widths, valid throughout."""
    clip = make_aligned_clip(name)
    values = {modality: np.full((20, width), 0.5, np.float32) for modality, width in given.items()}
    return replace(clip, given=values, masks={**clip.masks, **dict.fromkeys(given, np.ones(20, bool))})


def test_what_one_clip_brings_is_not_encoded_from_the_media_of_another(tmp_path: Path) -> None:
    write(tmp_path, [bringing("00", face=7, gaze=3), bringing("01", gaze=3)])
    first, second = scan(tmp_path)
    assert given_widths([first, second]) == {"face": 7, "gaze": 3}
    assert first.present == {"face", "voice", "text", "physio", "gaze"}
    assert second.present == {"voice", "text", "physio", "gaze"}


def test_given_features_of_two_widths_are_named(tmp_path: Path) -> None:
    write(tmp_path, [bringing("00", gaze=3), bringing("01", gaze=4)])
    with pytest.raises(DataError, match=r"tiny/01: the given gaze has several widths; seen 4; allowed: 3"):
        given_widths(scan(tmp_path))


def test_given_features_are_read_without_the_media(tmp_path: Path) -> None:
    clip = bringing("00", face=7)
    write(tmp_path, [clip])
    [task] = plan(scan(tmp_path), {"face": "g"}, {}, max_clips=4, given=True)
    [[(found, keys)]] = list(read_clips(task, batch_clips=2))
    assert set(keys) == {"face"}
    assert np.array_equal(found.given["face"], clip.given["face"])
    assert (found.face_jpeg, found.pcm.size) == ((), 0)
