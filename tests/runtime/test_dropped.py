from __future__ import annotations

import os
import subprocess
import sys

import pytest

from components.runtime.dropped import pass_on
from components.runtime.stream import RAY_LINE, RESTARTS

RAY = (
    b"[2026-11-28 17:56:01,384 E 22411 22411] core_worker.cc:2465: "
    b"Actor with class name: 'MapWorker(MapBatches(A))' and ID: '24be' has constructor arguments in the object store "
    b"and max_restarts > 0. If the arguments in the object store go out of scope or are lost, the restart will fail.\n"
)
OTHER = b"[2026-11-28 17:56:02,000 E 22411 22411] core_worker.cc:2500: The node is out of memory.\n"


def copied(*pieces: bytes) -> bytes:
    """What comes out when these are written one by one."""
    (source, writer), (reader, target) = os.pipe(), os.pipe()
    for piece in pieces:
        os.write(writer, piece)
    os.close(writer)
    pass_on(source, target, RESTARTS.encode(), RAY_LINE.encode())
    os.close(target)
    with os.fdopen(reader, "rb") as file:
        return file.read()


def test_that_line_alone_is_dropped() -> None:
    assert copied(b"before\n", RAY, OTHER, b"after") == b"before\n" + OTHER + b"after"


def test_a_line_in_pieces_is_one_line() -> None:
    assert copied(RAY[:2], RAY[2:90], RAY[90:] + b"after\n") == b"after\n"


def run(body: str) -> subprocess.CompletedProcess[bytes]:
    """A process that writes to standard error inside the block and after it."""
    begin = "import os, sys\nfrom components.runtime.dropped import dropped\nwith dropped('noise', begins='['):\n"
    code = f"{begin}{body}\nos.write(2, b'after')"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)


def test_descriptor_and_stream_pass_through_in_order() -> None:
    done = run("    os.write(2, b'[noise]\\n'); print('a warning', file=sys.stderr); os.write(2, b'[an error]\\n')")
    assert (done.returncode, done.stderr) == (0, b"a warning\n[an error]\nafter")


def test_what_a_crash_says_last_comes_through() -> None:
    done = run("    os.write(2, b'[noise]\\n[check failed'); os.abort()")
    assert done.returncode < 0
    assert done.stderr == b"[check failed"


def test_an_error_in_the_block_is_raised_and_its_traceback_shown() -> None:
    done = run("    raise ValueError('no such thing')")
    assert done.returncode == 1
    assert b"ValueError: no such thing" in done.stderr


@pytest.mark.parametrize("piece", [b"\r 3/30 \x1b[2K", b"plain"])
def test_a_piece_of_another_line_does_not_wait(piece: bytes) -> None:
    (source, writer), (reader, target) = os.pipe(), os.pipe()
    code = "import sys; from components.runtime.dropped import pass_on; pass_on(0, 1, b'noise', b'[')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=source, stdout=target) as child:
        os.write(writer, piece)
        assert os.read(reader, 100) == piece
        os.close(writer)
        os.close(source)
    assert child.returncode == 0
    os.close(reader)
    os.close(target)
