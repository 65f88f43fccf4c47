from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from components.alignment.shards import (
    ShardWriter,
    clips_of,
    keys_of,
    linked,
    row_bytes,
    rows_of,
    shard_paths,
    stored_in,
)
from components.contracts.fingerprint import file_sha256
from components.contracts.records import ALIGNED_SCHEMA, AlignedClip
from tests.builders import make_aligned_clip


def table(clip: AlignedClip) -> pa.Table:
    return pa.Table.from_pylist([clip.to_row()], schema=ALIGNED_SCHEMA)


def clips(count: int) -> list[AlignedClip]:
    return [make_aligned_clip(f"{k:03d}", seed=k, steps=5) for k in range(count)]


def write(folder: Path, rows: list[pa.Table], **sizes: int) -> list[str]:
    folder.mkdir()
    with ShardWriter(folder, **sizes) as shards:
        shards.write_all(rows)
    return [file_sha256(path) for path in shard_paths(folder)]


def test_rows_come_back_as_they_were_in_order(tmp_path: Path) -> None:
    written = clips(7)
    size = row_bytes(table(written[0]))
    write(tmp_path / "a", [table(clip) for clip in written], shard_bytes=3 * size + size // 2, group_bytes=2 * size)
    assert [path.name for path in shard_paths(tmp_path / "a")] == [f"shard-{k:05d}.parquet" for k in range(3)]
    read = list(clips_of(tmp_path / "a"))
    assert [clip.to_row() for clip in read] == [clip.to_row() for clip in written]
    assert keys_of(tmp_path / "a") == {
        clip.clip_id: (clip.content_sha256, clip.alignment_fingerprint) for clip in written
    }


def test_rows_read_back_give_the_same_bytes(tmp_path: Path) -> None:
    size = row_bytes(table(clips(1)[0]))
    sizes = {"shard_bytes": 4 * size, "group_bytes": 2 * size}
    first = write(tmp_path / "a", [table(clip) for clip in clips(10)], **sizes)
    assert write(tmp_path / "b", list(rows_of(tmp_path / "a")), **sizes) == first
    mixed = [table(clip) for clip in clips(10)]
    mixed[2:6] = list(rows_of(tmp_path / "a"))[2:6]
    assert write(tmp_path / "c", mixed, **sizes) == first


def test_a_row_larger_than_a_shard_stands_alone(tmp_path: Path) -> None:
    write(tmp_path / "a", [table(clip) for clip in clips(3)], shard_bytes=10, group_bytes=10)
    assert len(shard_paths(tmp_path / "a")) == 3


def test_no_folder_and_no_rows(tmp_path: Path) -> None:
    assert keys_of(tmp_path / "none") == {}
    assert list(clips_of(tmp_path / "none")) == []
    assert write(tmp_path / "empty", []) == []


def linked_and_written(old: Path, folder: Path, now: list[AlignedClip], new: set[str], **sizes: int) -> int:
    """Writes clips with what `old` holds taken over; returns how many shards were."""
    stored = stored_in(old)
    kept = {row.clip_id for row in stored} - new
    folder.mkdir()
    taken = linked(stored, [clip.clip_id for clip in now], kept, folder)
    inside = {row.clip_id for row in stored if row.shard in taken}
    with ShardWriter(folder, first=len(taken), **sizes) as shards:
        shards.write_all(table(clip) for clip in now if clip.clip_id not in inside)
    return len(taken)


@pytest.mark.parametrize(
    ("change", "at", "taken"),
    [
        ("nothing", 0, 4),
        ("append", 10, 3),
        ("insert", 7, 2),
        ("insert", 0, 0),
        ("remove", 9, 3),
        ("remove", 3, 0),
        ("remove", 4, 1),
        ("change", 6, 1),
        ("change", 5, 1),
    ],
)
def test_shards_before_the_first_change_are_taken_over(tmp_path: Path, change: str, at: int, taken: int) -> None:
    """Ten clips, three a shard (the last holds one)."""
    before = clips(10)
    size = row_bytes(table(before[0]))
    sizes = {"shard_bytes": 3 * size + size // 2, "group_bytes": 2 * size}
    write(tmp_path / "old", [table(clip) for clip in before], **sizes)
    assert [
        len({row.clip_id for row in stored_in(tmp_path / "old") if row.shard == path})
        for path in shard_paths(tmp_path / "old")
    ] == [3, 3, 3, 1]
    fresh = make_aligned_clip(f"{max(0, at - 1):03d}x" if at else "000-", seed=99, steps=5)
    now, new = list(before), set()
    if change in ("append", "insert"):
        now, new = sorted([*before, fresh], key=lambda clip: clip.clip_id), {fresh.clip_id}
    elif change == "remove":
        del now[at]
    elif change == "change":
        now[at] = make_aligned_clip(f"{at:03d}", seed=99, steps=5)
        new = {now[at].clip_id}
    assert linked_and_written(tmp_path / "old", tmp_path / "new", now, new, **sizes) == taken
    whole = write(tmp_path / "whole", [table(clip) for clip in now], **sizes)
    assert [file_sha256(path) for path in shard_paths(tmp_path / "new")] == whole


def test_a_shard_that_was_cut_off_holds_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", [table(clip) for clip in clips(3)], shard_bytes=10, group_bytes=10)
    cut = shard_paths(tmp_path / "a")[1]
    cut.write_bytes(cut.read_bytes()[:-10])
    assert [row.clip_id for row in stored_in(tmp_path / "a")] == ["tiny/000", "tiny/002"]
