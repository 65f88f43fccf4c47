from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from components.contracts.errors import MediaError, MerError
from components.serving.http import uploads
from components.serving.http.uploads import READ_LATER, Upload, receive, safe_name


def body_of(**parts: object) -> tuple[bytes, str]:
    """A multipart body as a client makes it."""
    files = {name: value for name, value in parts.items() if isinstance(value, tuple)}
    texts = {name: value for name, value in parts.items() if isinstance(value, str)}
    request = httpx.Request("POST", "http://x", files=files, data=texts)
    return request.read(), request.headers["content-type"]


def received(body: bytes, content_type: str, *, limit: int = 10_000, block: int = 7) -> Upload:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), block):
            yield body[start : start + block]

    return asyncio.run(receive(blocks(), content_type, max_clip_bytes=limit))


def refused(body: bytes, content_type: str, **options: int) -> MerError:
    with pytest.raises(MerError) as caught:
        received(body, content_type, **options)
    return caught.value


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads, so that a test can check for left-over files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("block", [1, 7, 100_000])
def test_parts_arrive_complete_for_any_size_of_blocks(block: int, folder: Path) -> None:
    content = bytes(range(256)) * 3 + b"\r\n--boundary-like\r\n"
    words = json.dumps([{"text": "hi", "start_s": 0, "end_s": 0.5}])
    body, kind = body_of(clip=("a b.mp4", content), transcript="Grüße  ", words=words, physio=("p.parquet", b"PAR1x"))
    with received(body, kind, block=block) as upload:
        assert upload.clip.read_bytes() == content
        assert upload.clip.name == "a b.mp4"
        physio = upload.path("physio")
        assert physio is not None
        assert physio.read_bytes() == b"PAR1x"
        texts = [path.read_text(encoding="utf-8") for name in READ_LATER if (path := upload.path(name))]
        assert texts == ["Grüße  ", words]
    assert list(folder.iterdir()) == []


def test_a_name_never_leaves_its_folder(folder: Path) -> None:
    body, kind = body_of(clip=("../../etc/passwd", b"x"))
    with received(body, kind) as upload:
        assert upload.clip.parent.parent.parent == folder
        assert upload.clip.name == "passwd"
    assert safe_name("C:\\clips\\a.mp4") == "a.mp4"
    assert safe_name("..") == safe_name("") == safe_name("\x00") == "clip"
    assert len(safe_name("é" * 500 + ".mp4").encode()) < 255


def test_not_a_byte_over_the_limit_is_kept(folder: Path) -> None:
    body, kind = body_of(clip=("a.mp4", b"x" * 5000))
    error = refused(body, kind, limit=4999)
    assert (error.code, error.where) == ("too-large", "a.mp4")
    assert list(folder.iterdir()) == []
    with received(body, kind, limit=5000) as upload:
        assert upload.clip.stat().st_size == 5000


def test_a_body_far_over_the_limit_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PHYSIO_BYTES", 0)
    monkeypatch.setattr(uploads, "MAX_TEXT_BYTES", 0)
    monkeypatch.setattr(uploads, "MAX_TRANSCRIPT_BYTES", 0)
    body, kind = body_of(clip=("a.mp4", b"x"))
    head, sent = body.split(b"x", maxsplit=1)[0], 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield head
        while True:
            sent += 1000
            yield b"x" * 1000

    with pytest.raises(MediaError):
        asyncio.run(receive(endless(), kind, max_clip_bytes=10_000))
    assert sent < 100_000


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"clips": ("a.mp4", b"x")}, "Did you mean 'clip'?"),
        ({"physio": ("p.parquet", b"PAR1")}, "no file part named 'clip'"),
    ],
)
def test_wrong_parts(parts: dict[str, object], message: str) -> None:
    error = refused(*body_of(**parts))
    assert error.code == "bad-request"
    assert message in str(error)


def test_wrong_bodies(folder: Path) -> None:
    body, kind = body_of(clip=("a.mp4", b"x" * 100))
    assert refused(b"{}", "application/json").code == "bad-request"
    assert refused(b"", "").code == "bad-request"
    assert refused(b"x", "multipart/form-data; boundary=" + "x" * 5000).code == "bad-request"
    assert refused(body[:60], kind).code == "bad-request"
    assert "cut off" in str(refused(body[:-10], kind))
    assert refused(b"nothing of the kind", kind).code == "bad-request"
    twice = body.rsplit(b"--\r\n", maxsplit=1)[0] + b"\r\n" + body.split(b"\r\n", maxsplit=1)[1]
    assert "twice" in str(refused(twice, kind))
    assert list(folder.iterdir()) == []


def test_a_track_is_a_number_from_one() -> None:
    body, kind = body_of(clip=("a.mkv", b"x"), audio_track="2", video_track=" ")
    with received(body, kind) as upload:
        assert (upload.track("audio_track"), upload.track("video_track")) == (2, None)
    for text in ("0", "-1", "two", "²"):
        error = refused(*body_of(clip=("a.mkv", b"x"), audio_track=text))
        assert (error.code, error.where) == ("bad-request", "audio_track")
    assert refused(*body_of(clip=("a.mkv", b"x"), audio_track="1000")).code == "too-large"
