"""Alignment in a process of its own, so that a clip costs itself and nothing else, whatever its bytes do to a decoder.

A decoder is a hundred thousand lines of C that reads what strangers wrote: it may crash, never return, or ask for all
the memory there is. Neither Python nor Ray can undo that (Ray starts the actor again, which takes the same clip again,
without end). So whoever aligns clips of a corpus hands them to a child that holds the aligner:

    crash          the child dies of it; the clip is tried once more in a new child, then it is `crashed`
    hang           the kernel's alarm ends the child after `max_work_s` of processor time: `too-slow`
    memory         the kernel refuses more than `max_memory_mb` beyond what an idle child holds: `memory`

The alarm and the memory limit are the kernel's, so they hold in the middle of foreign code, and for a child whose
parent is gone. Starting a child takes a few seconds (its imports and networks), a clip about a millisecond more than
without one.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from components.alignment.outcome import Result, align_one, packed, refused, unpacked
from components.alignment.source import too_slow
from components.contracts.config import Alignment, MediaLimits
from components.contracts.errors import MediaError, UnavailableError
from components.contracts.records import Clip

ATTEMPTS = 2  # a child may be killed for what its neighbours did; twice in a row with one clip is the clip's doing
CHILD = "from components.alignment.guard import child; child()"
KIB = 1 << 10
MIB = 1 << 20
READY = b"ready"


class Guard:
    """Aligns clips in a child process; a context manager. The child starts with the first clip.

    Args:
        config: of the aligner.
        root: where relative media paths start.
    """

    def __init__(self, config: Alignment, root: Path) -> None:
        self._config = config
        self._root = root
        self._child: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def align(self, clip: Clip) -> dict[str, Any]:
        """What became of a clip, as `outcome.packed` writes it.

        Raises:
            UnavailableError: weights that the configuration needs are not installed, or no child can be started.
        """
        death = 0
        for _ in range(ATTEMPTS):
            if self._line is None:
                self._start()
            try:
                return self._ask(clip)
            except (EOFError, OSError):
                death = self._bury()
            if -death == signal.SIGPROF:
                return packed(refused(clip, too_slow(self._config.limits, clip.clip_id)))
        return packed(refused(clip, _crashed(clip, death)))

    def result(self, clip: Clip) -> Result:
        """As `align`, unpacked."""
        return unpacked(clip, self.align(clip))

    def close(self) -> None:
        """Ends the child. The next clip would start another one."""
        if self._line is not None:
            self._line.close()
            self._bury(gently=True)

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child else None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-c", CHILD],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,  # what libraries print there is nobody's answer
                env=environment,
            )
        self._line = Connection(ours.detach())
        self._line.send_bytes(pickle.dumps((self._config.model_dump(mode="json"), str(self._root))))
        try:
            said = self._line.recv_bytes()
        except (EOFError, OSError) as error:
            raise UnavailableError(
                "the process that aligns clips ended before its first clip",
                where="alignment",
                seen=_how(self._bury()),
                remedy="Its own words are on the standard error output; too little memory is the usual reason",
            ) from error
        if said != READY:
            self.close()
            raise pickle.loads(said)

    def _ask(self, clip: Clip) -> dict[str, Any]:
        assert self._line is not None
        self._line.send_bytes(json.dumps(clip.to_row()).encode())
        fields: dict[str, Any] = json.loads(self._line.recv_bytes())
        return {**fields, "row": self._line.recv_bytes() if fields["row"] else None}

    def _bury(self, *, gently: bool = False) -> int:
        """Waits for the end of the child; returns its exit status, negative for a signal."""
        child, self._child, self._line = self._child, None, None
        assert child is not None
        if not gently and child.poll() is None:
            try:
                child.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                child.kill()
        return child.wait()


def child() -> None:
    """The child: reads clips from its standard input, a socket, and answers there, until that is closed."""
    from components.alignment.align import Aligner  # seconds of imports, which only the child needs

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and closes the line
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    line = Connection(os.dup(0))
    settings, root = pickle.loads(line.recv_bytes())
    config = Alignment.model_validate(settings)
    try:
        aligner = Aligner(config)
    except Exception as error:
        line.send_bytes(pickle.dumps(error))
        return
    _bound_memory(config.limits)
    line.send_bytes(READY)
    while True:
        try:
            clip = Clip.from_row(json.loads(line.recv_bytes()))
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, config.limits.max_work_s)  # its alarm ends the process
        fields = packed(align_one(aligner, clip, Path(root)))
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        row = fields["row"]
        line.send_bytes(json.dumps({**fields, "row": row is not None}).encode())
        if row is not None:
            line.send_bytes(row)


def _bound_memory(limits: MediaLimits) -> None:
    """From here on, private memory may grow by `max_memory_mb` only. Where the kernel tells no size, nothing is set."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return
    held = next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + limits.max_memory_mb * MIB,) * 2)


def _crashed(clip: Clip, status: int) -> MediaError:
    return MediaError(
        "decoding the clip ends the process that does it",
        where=clip.clip_id,
        seen=f"{_how(status)}, {ATTEMPTS} times",
        allowed="a file that decodes or is refused",
        remedy="Convert the clip with another tool; report the file to the makers of FFmpeg",
        code="crashed",
    )


def _how(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
