"""A refusal names its cause: a format or a codec that is not read here is not called damaged, and what a link, a disk
or the machine did is not blamed on the file."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from components.alignment.guard import crashed
from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.probe import check_file
from components.media.source import open_media

RATE_HZ = 16_000


def sound(path: Path, codec: str, container: str | None = None) -> Path:
    """Half a second of a tone."""
    tone = (9000 * np.sin(2 * np.pi * 150 * np.arange(RATE_HZ // 2) / RATE_HZ)).astype(np.int16)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE_HZ)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=RATE_HZ)
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
    return path


def refusal(path: Path) -> MediaError:
    with pytest.raises(MediaError) as refused, open_media(path, MediaLimits(), where="a"):
        pass
    return refused.value


def wavpack(folder: Path) -> Path:
    return sound(folder / "a.wv", "wavpack")


def sun_audio(folder: Path) -> Path:
    return sound(folder / "a.au", "pcm_s16be")


def true_audio(folder: Path) -> Path:
    return sound(folder / "a.tta", "tta")


def gif(folder: Path) -> Path:
    path = folder / "a.mp4"
    path.write_bytes(b"GIF89a\x01\x00\x01\x00\x00\xff\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;")
    return path


@pytest.mark.parametrize("made", [wavpack, sun_audio, true_audio, gif])
def test_a_format_that_is_not_read_is_not_called_damaged(made: Callable[[Path], Path], tmp_path: Path) -> None:
    error = refusal(made(tmp_path))
    assert error.code == Code.NOT_MEDIA
    assert "is in a format that is not read here" in error.what
    assert error.remedy == "Convert it to mp4, mkv or wav"
    assert "matroska" in str(error.allowed)


def test_noise_is_not_called_a_format(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    error = refusal(path)
    assert "cannot be read as media" in error.what
    assert "download it again" in str(error.remedy)


def test_a_codec_that_is_not_read_is_not_a_lack_of_sound(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.m4a", "aac", "mp4")
    content = path.read_bytes()
    assert content.count(b"mp4a") == 1
    path.write_bytes(content.replace(b"mp4a", b"zzzz").replace(b"esds", b"free"))
    error = refusal(path)
    assert error.code == Code.NO_STREAMS
    assert "in a codec that is not read here" in error.what
    assert error.seen == "audio without a decoder"


def test_a_still_picture_is_not_called_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.mp4"
    head = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic")
    path.write_bytes(
        head + struct.pack(">I4s", 20, b"meta") + bytes(12) + struct.pack(">I4s", 108, b"mdat") + bytes(100)
    )
    error = refusal(path)
    assert error.code == Code.NOT_MEDIA
    assert "a still picture" in error.what


def test_a_link_that_leads_nowhere_is_fetched_not_added(tmp_path: Path) -> None:
    link = tmp_path / "a.wav"
    link.symlink_to(tmp_path / "annex" / "object")
    with pytest.raises(MediaError, match="git annex get") as refused:
        check_file(link, where="a")
    assert refused.value.code == Code.MISSING_FILE


def test_a_disk_that_fails_is_not_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Path) -> object:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "stat", failing)
    with pytest.raises(MediaError, match="Check the disk or the network share") as refused:
        check_file(tmp_path / "a.wav", where="a")
    assert refused.value.code == Code.UNREADABLE


@pytest.mark.parametrize(
    ("how", "word"), [("signal SIGKILL, 2 times", "memory"), ("signal SIGSEGV, 2 times", "FFmpeg")]
)
def test_a_machine_without_memory_is_not_a_bad_file(how: str, word: str) -> None:
    assert word in str(crashed(SimpleNamespace(how=how), "a").remedy)  # type: ignore[arg-type]
