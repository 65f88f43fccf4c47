from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from components.alignment.shards import ShardWriter, clips_of, keys_of, row_bytes, rows_of, shard_paths
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
