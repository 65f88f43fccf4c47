from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.source import open_media, picture_stream, sound_stream
from tests.alignment.media import grey, tone, write_clip

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"


def refused(path: Path, limits: MediaLimits | None = None) -> MediaError:
    with pytest.raises(MediaError) as caught, open_media(path, limits or MediaLimits(), where="tiny/a"):
        pass
    error = caught.value
    assert str(error).startswith("tiny/a: ")
    assert error.seen is not None
    assert error.allowed is not None
    assert error.remedy
    assert str(path.parent) not in str(error)
    return error


def test_what_opens(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(9)] * 5, sound=tone(0.2))
    with open_media(path, MediaLimits(), where="t") as container:
        assert picture_stream(container) is not None
        assert sound_stream(container) is not None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "missing-file"),
        (b"", "empty-file"),
        (LFS.encode(), "lfs-pointer"),
        (b"this is a text file named .mp4\n" * 40, "not-media"),
        (bytes(range(256)) * 40, "not-media"),
    ],
)
def test_what_is_no_media(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    assert refused(path).code == code


def test_a_folder_is_no_media(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    assert refused(tmp_path / "a.mp4").code == "not-a-file"


def test_a_playlist_cannot_name_other_files(tmp_path: Path) -> None:
    other = write_clip(tmp_path / "secret.mp4", pictures=[grey(9)] * 5)
    for name in ("a.mp4", "a.m3u8"):
        (tmp_path / name).write_text(PLAYLIST.format(other))
        assert refused(tmp_path / name).code == "not-media"
    (tmp_path / "a.ffconcat").write_text(f"ffconcat version 1.0\nfile '{other}'\n")
    assert refused(tmp_path / "a.ffconcat").code == "not-media"


def test_an_mp4_cut_before_its_index_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(9)] * 50, sound=tone(2.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refused(path).code == "truncated"


def test_limits_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(9)] * 50)
    assert refused(path, MediaLimits(max_bytes=100)).code == "too-large"
    error = refused(path, MediaLimits(max_duration_s=1.5))
    assert error.code == "too-long"
    assert error.seen == "2.0 s"
