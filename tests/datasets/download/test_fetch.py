from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from components.contracts.errors import DataError, UnavailableError
from components.datasets.download.fetch import ATTEMPTS, SPARE_BYTES, Place, Remote, checksum, fetch, get
from tests.datasets.file_server import Files, serving

BODY = np.random.default_rng(3).bytes(300_000)
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


@pytest.fixture
def files() -> Iterator[Files]:
    with serving(Files(content={"/a.bin": BODY})) as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(follow_redirects=True, timeout=20) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(file=tmp_path / "a.bin", record=tmp_path / ".downloads" / "a.bin.sha256")


def fetched(client: httpx.Client, files: Files, place: Place, **known: object) -> bool:
    waits: list[float] = []
    remote = Remote(url=f"{files.url}/a.bin", path="a.bin", **known)  # type: ignore[arg-type]
    return fetch(client, remote, place, wait=waits.append)


@pytest.mark.parametrize("published", [SHA256, MD5, None])
def test_a_file_comes_whole_and_is_not_fetched_again(
    published: str | None, client: httpx.Client, files: Files, place: Place
) -> None:
    assert fetched(client, files, place, checksum=published, size=len(BODY))
    assert place.file.read_bytes() == BODY
    assert place.record.read_text() == f"{SHA256.removeprefix('sha256:')}  a.bin\n"
    assert sorted(path.name for path in place.file.parent.iterdir()) == [".downloads", "a.bin"]
    assert not fetched(client, files, place, checksum=published)
    assert len(files.asked) == 1


def test_a_cut_line_is_taken_up_where_it_broke(client: httpx.Client, files: Files, place: Place) -> None:
    files.cut_after = [100_000, 0, 50_000]
    assert fetched(client, files, place, checksum=SHA256)
    assert place.file.read_bytes() == BODY
    assert [asked for _, asked in files.asked] == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert files.sent == len(BODY)


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(client: httpx.Client, files: Files, place: Place) -> None:
    files.cut_after = [70_000, *[0] * ATTEMPTS]
    with pytest.raises(UnavailableError, match="70000 bytes so far"):
        fetched(client, files, place)
    files.cut_after = []
    assert fetched(client, files, place)
    assert files.asked[-1] == ("/a.bin", "bytes=70000-")
    assert place.file.read_bytes() == BODY


def test_a_server_without_ranges_starts_anew(client: httpx.Client, files: Files, place: Place) -> None:
    files.ranges, files.cut_after = False, [200_000]
    assert fetched(client, files, place)
    assert place.file.read_bytes() == BODY
    assert files.sent == len(BODY) + 200_000


@pytest.mark.parametrize(("published", "again"), [(None, None), (SHA256, "bytes=90000-")])
def test_without_a_tag_only_a_checksum_allows_to_go_on(
    published: str | None, again: str | None, client: httpx.Client, files: Files, place: Place
) -> None:
    files.tagged, files.cut_after = False, [90_000]
    assert fetched(client, files, place, checksum=published)
    assert files.asked[1] == ("/a.bin", again)
    assert place.file.read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_not_put_together_of_two(
    client: httpx.Client, files: Files, place: Place
) -> None:
    files.cut_after = [90_000, *[0] * ATTEMPTS]
    with pytest.raises(UnavailableError):
        fetched(client, files, place)
    other = BODY[::-1]
    files.content["/a.bin"], files.cut_after = other, []
    assert fetched(client, files, place)
    assert place.file.read_bytes() == other


def test_a_part_that_was_damaged_on_disk_is_fetched_again(client: httpx.Client, files: Files, place: Place) -> None:
    files.cut_after = [90_000, *[0] * ATTEMPTS]
    with pytest.raises(UnavailableError):
        fetched(client, files, place, checksum=SHA256)
    files.cut_after = []
    place.part.write_bytes(bytes(90_000))
    assert fetched(client, files, place, checksum=SHA256)
    assert place.file.read_bytes() == BODY


@pytest.mark.parametrize("known", [{"checksum": "sha256:" + "0" * 64}, {"checksum": "md5:" + "0" * 32}, {"size": 5}])
def test_what_is_not_as_published_is_thrown_away(
    known: dict[str, object], client: httpx.Client, files: Files, place: Place
) -> None:
    with pytest.raises(DataError, match="not the published one") as caught:
        fetched(client, files, place, **known)
    assert caught.value.code == "checksum"
    assert list(place.file.parent.iterdir()) == []
    assert len(files.asked) == 1


def test_the_first_download_is_trusted_and_a_different_one_after_it_is_not(
    client: httpx.Client, files: Files, place: Place
) -> None:
    fetched(client, files, place)
    place.file.unlink()
    files.content["/a.bin"] = b"another"
    with pytest.raises(DataError, match="not the file of the first download") as caught:
        fetched(client, files, place)
    assert str(place.record) in str(caught.value)
    place.record.unlink()  # what the message says to do
    assert fetched(client, files, place)
    assert place.file.read_bytes() == b"another"


def test_a_file_that_was_changed_here_is_fetched_again(client: httpx.Client, files: Files, place: Place) -> None:
    fetched(client, files, place)
    place.file.write_bytes(b"damaged")
    later = place.record.stat().st_mtime_ns + 10**9
    os.utime(place.file, ns=(later, later))
    assert fetched(client, files, place)
    assert place.file.read_bytes() == BODY


def test_a_busy_server_is_asked_again_with_growing_patience(client: httpx.Client, files: Files, place: Place) -> None:
    files.refuse = [503, 429, 500]
    waits: list[float] = []
    assert fetch(client, Remote(url=f"{files.url}/a.bin", path="a.bin"), place, wait=waits.append)
    assert waits == [1.0, 2.0, 4.0]


def test_what_is_not_there_is_said_at_once(client: httpx.Client, files: Files, place: Place) -> None:
    files.refuse = [404]
    with pytest.raises(UnavailableError, match="HTTP 404"):
        fetched(client, files, place)
    assert len(files.asked) == 1


def test_a_host_that_does_not_answer_is_named(client: httpx.Client, place: Place) -> None:
    waits: list[float] = []
    remote = Remote(url="http://127.0.0.1:9/a.bin", path="a.bin")
    with pytest.raises(UnavailableError, match="ConnectError"):
        fetch(client, remote, place, wait=waits.append)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        get(client, remote.url, wait=waits.append)


def test_a_disk_without_room_stops_before_a_byte_is_written(
    client: httpx.Client, files: Files, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=SPARE_BYTES))
    with pytest.raises(UnavailableError, match="the disk has too little room"):
        fetched(client, files, place)
    assert not place.part.exists()


def test_a_part_as_long_as_the_file_is_the_file(client: httpx.Client, files: Files, place: Place) -> None:
    files.cut_after = [299_999, *[0] * ATTEMPTS]
    with pytest.raises(UnavailableError):
        fetched(client, files, place)
    files.cut_after = []
    with place.part.open("ab") as stream:
        stream.write(BODY[-1:])
    assert fetched(client, files, place)
    assert place.file.read_bytes() == BODY


def test_ctrl_c_leaves_a_part_that_the_next_call_completes(client: httpx.Client, files: Files, place: Place) -> None:
    code = (
        "import os, signal, sys, httpx; from pathlib import Path;"
        "from components.datasets.download.fetch import Place, Remote, fetch;"
        # A shell that starts tests in the background has them ignore this signal.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "seen = 0\n"
        "def advance(count):\n"
        "    global seen\n"
        "    seen += count\n"
        "    if seen > 100_000: os.kill(os.getpid(), signal.SIGINT)\n"
        "file = Path(sys.argv[2])\n"
        "place = Place(file=file, record=file.parent / '.downloads' / 'a.bin.sha256')\n"
        "fetch(httpx.Client(), Remote(url=sys.argv[1], path='a.bin'), place, advance=advance)\n"
    )
    command = [sys.executable, "-c", code, f"{files.url}/a.bin", str(place.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT, done.stderr
    have = place.part.stat().st_size
    assert 100_000 <= have < len(BODY)
    assert fetched(client, files, place)
    assert files.asked[-1] == ("/a.bin", f"bytes={have}-")
    assert place.file.read_bytes() == BODY


@pytest.mark.parametrize(("kind", "digits"), [("md5", "0" * 31), ("crc32", "0" * 8), ("sha256", "g" * 64), ("", "")])
def test_what_is_no_checksum_is_refused(kind: str, digits: str) -> None:
    with pytest.raises(DataError, match="not a checksum"):
        checksum(kind, digits, where="a record")
