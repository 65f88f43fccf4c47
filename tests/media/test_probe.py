from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.errors import MediaError
from components.datasets.synthetic.plan import ClipPlan
from components.media import probe
from components.media.probe import check_file, probe_media, probe_physio
from tests.alignment.containers import boxes, valid

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (None, "missing-file", "cannot be opened"),
        (b"", "empty-file", "no bytes"),
        (LFS, "lfs-pointer", "git lfs pull"),
        (b"<html>Sorry, you need to log in</html>", "not-media", "text file"),
        ("Größe unbekannt, nur Text " * 400, "not-media", "text file"),
        (bytes(range(200, 256)) * 4, "not-media", "not an mp4 file"),
    ],
)
def test_what_is_no_media_is_called_by_its_name(
    content: bytes | str | None, code: str, word: str, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(MediaError) as caught:
        probe_media(path)
    assert caught.value.code == code
    assert word in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_real_media_passes(
    plans: list[ClipPlan], rendered: Callable[[ClipPlan], Path], write_wav: Callable[[Path], Path], tmp_path: Path
) -> None:
    probe_media(rendered(plans[0]))
    probe_media(write_wav(tmp_path / "a.wav"))
    probe_media(write_wav(tmp_path / "a.flac"))


def test_an_mp4_cut_off_before_its_index_is_refused(
    plans: list[ClipPlan], rendered: Callable[[ClipPlan], Path], tmp_path: Path
) -> None:
    whole = rendered(plans[0]).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"moov.*is missing") as caught:
        probe_media(cut)
    assert caught.value.code == "truncated"


def test_physiology_must_be_a_whole_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"time_s": [0.0, 0.1]}), path)
    probe_physio(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MediaError) as caught:
        probe_physio(path)
    assert caught.value.code == "not-parquet"


def test_an_index_that_is_cut_off_is_no_index(tmp_path: Path) -> None:
    whole = valid(".mp4")
    path = tmp_path / "a.mp4"
    for name, start, end in boxes(whole):
        path.write_bytes(whole[: (start + end) // 2])
        if start > 0 and end < len(whole):
            with pytest.raises(MediaError) as caught:
                probe_media(path)
            assert caught.value.code == "truncated", name
    path.write_bytes(whole)
    probe_media(path)
    path.write_bytes(valid(".mp4", front=True)[:-100])  # cut off within the media
    probe_media(path)


def test_a_file_of_empty_boxes_keeps_nobody_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAX_BOXES", 10)
    path = tmp_path / "a.mp4"
    path.write_bytes(valid(".mp4")[:32] + b"\x00\x00\x00\x08free" * 20)
    probe_media(path)  # not looked at to its end; alignment refuses it


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.mp4")
    with pytest.raises(MediaError) as caught:
        probe_media(tmp_path / "a.mp4")
    assert caught.value.code == "not-a-file"


@pytest.mark.parametrize("content", [None, b"", LFS, b"more than ten bytes"])
def test_a_refusal_names_the_file_where_the_place_is_a_clip_and_says_all_else(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=r"^tiny/a: the file 'clip\.mp4' ") as caught:
        check_file(path, where="tiny/a", max_bytes=200 if content == LFS else 10)
    error = caught.value
    assert error.seen is not None
    assert error.allowed
    assert error.remedy
    assert str(tmp_path) not in str(error)


def test_the_first_bytes_of_a_file_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"ten bytes.")
    assert check_file(tmp_path / "a.bin", where="a", max_bytes=10) == b"ten bytes."
    (tmp_path / "a.bin").chmod(0)
    if not os.access(tmp_path / "a.bin", os.R_OK):  # root reads everything
        with pytest.raises(MediaError, match="the right to read it") as caught:
            check_file(tmp_path / "a.bin", where="a")
        assert caught.value.code == "unreadable"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b.wav", "gone/b.wav"])
def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError) as caught:
        check_file(tmp_path / name, where="clip")
    assert caught.value.code == "missing-file"
