"""Photographs in corpora: clips of one moment, counted and said; previews of recordings are not clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.datasets.base import PICTURES, Scan
from components.datasets.check import check
from components.datasets.corpora.folder import Folder
from components.datasets.corpora.manifest import Manifest, ManifestOptions

TERMS = {"licence": "CC0", "consent": "in writing"}
FORMATS = {".jfif": "JPEG", ".apng": "PNG"}


def photograph(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, format=FORMATS.get(path.suffix.lower()))
    return path


def folder_scan(root: Path) -> Scan:
    return Folder().scan(Folder().options({"root": "corpus", **TERMS}), root, 7)


def manifest_scan(root: Path, table: str) -> Scan:
    (root / "table.csv").write_text(table)
    return Manifest().scan(ManifestOptions(table="table.csv", **TERMS), root, 7)


def test_every_kind_of_picture_in_a_folder_is_a_clip_and_counted(tmp_path: Path) -> None:
    for number, suffix in enumerate((*PICTURES, ".JPG")):
        photograph(tmp_path / "corpus" / "anger" / f"p{number}" / f"a{suffix}", number)
    scan = folder_scan(tmp_path)
    assert len(scan.clips) == len(PICTURES) + 1
    assert all(clip.video_path is not None and clip.audio_path is None for clip in scan.clips)
    assert not scan.quarantined
    assert [note.split(":")[0] for note in scan.notes] == [f"{len(PICTURES) + 1} clips are pictures"]


def test_a_recordings_preview_is_not_a_clip_and_it_is_said(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.wav", "c.mp4"):
        (tmp_path / "corpus" / "anger" / "ann" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / "anger" / "ann" / name).write_bytes(b"x")
    for name in ("a.jpg", "b.png", "d.jpg"):
        photograph(tmp_path / "corpus" / "anger" / "ann" / name)
    photograph(tmp_path / "corpus" / "fear" / "ann" / "a.jpg")
    scan = folder_scan(tmp_path)
    assert sorted(clip.clip_id for clip in scan.clips) == [
        *(f"folder/anger/ann/{name}" for name in ("a.mp4", "b.wav", "c.mp4", "d.jpg")),
        "folder/fear/ann/a.jpg",
    ]
    assert any("2 pictures are left out as previews" in note and "a.jpg" in note for note in scan.notes)


@pytest.mark.parametrize("column", ["video", "image"])
def test_a_table_may_list_photographs_alone_and_beside_sound(tmp_path: Path, column: str) -> None:
    scan = manifest_scan(
        tmp_path, f"{column},audio,emotion,subject\na.jpg,,anger,ann\nb.webp,b.wav,fear,bo\n,c.wav,fear,cy\n"
    )
    assert [(clip.video_path, clip.audio_path) for clip in scan.clips] == [
        ("a.jpg", None),
        ("b.webp", "b.wav"),
        (None, "c.wav"),
    ]
    assert [note.split(":")[0] for note in scan.notes] == ["2 clips are pictures"]


def test_an_image_beside_a_video_is_one_too_many(tmp_path: Path) -> None:
    scan = manifest_scan(tmp_path, "video,image,emotion,subject\na.mp4,a.jpg,anger,ann\n")
    assert not scan.clips
    assert [(row.code, row.field, row.seen) for row in scan.quarantined] == [("bad-label", "image", "a.jpg")]


def test_the_check_counts_photographs_and_leaves_none_unused(tmp_path: Path) -> None:
    for number in range(3):
        photograph(tmp_path / "corpus" / "anger" / "ann" / f"{number}.jpg", number)
    (tmp_path / "corpus" / "anger" / "ann" / "broken.jpg").write_bytes(b"this is text")
    adapter = Folder()
    options = adapter.options({"root": "corpus", **TERMS})
    (scratch := tmp_path / "scratch").mkdir()
    findings = check(adapter, options, root=tmp_path, scratch=scratch, seed=7, withdrawn=())
    assert len(findings.clips) == 3
    assert [row.code for row in findings.quarantined] == ["not-media"]
    assert {clip.modalities for clip in findings.looked.values()} == {("picture",)}
    assert not findings.unused
    assert "4 clips are pictures" in findings.notes[0]
