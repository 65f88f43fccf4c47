"""A program that runs beside this one, and never outlives it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_S = 10.0
POLL_S = 0.2
PR_SET_PDEATHSIG = 1


class Background:
    """The processes of a program.

    Args:
        command: that starts it.
        log: the file for its output, begun anew with each start.
        environment: its variables; by default those of this process.
        folder: where it runs; by default where this process does.
        user: under which it runs, where that is not this process's.
        stop: the first signal that it gets at the end; SIGTERM and SIGKILL follow where it does not suffice.
        stop_s: seconds after which the next signal follows.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str | None = None,
        stop: signal.Signals = signal.SIGTERM,
        stop_s: float = STOP_S,
    ) -> None:
        self.log = log
        self._command = list(command)
        self._environment = environment
        self._folder = folder
        self._user = user
        self._signals = dict.fromkeys((stop, signal.SIGTERM, signal.SIGKILL))
        self._stop_s = stop_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, in place of one that has ended. In the main thread: the kernel ends it with the thread that
        started it."""
        self.end()  # workers may have outlived it, and hold its port
        with self.log.open("wb") as output:
            # A session of its own: Ctrl-C reaches only this program, which then stops the other one and its workers.
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._folder,
                user=self._user,
                extra_groups=() if self._user else None,
                start_new_session=True,
                # The function makes one system call.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def end(self) -> None:
        """Ends it and its workers."""
        if self._process is None:
            return
        for sign in self._signals:
            try:
                os.killpg(self._process.pid, sign)
            except ProcessLookupError:
                break
            try:
                self._process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                continue
            # The program has ended; workers of its group may take a moment.
            deadline = time.monotonic() + self._stop_s
            while _alive(self._process.pid) and time.monotonic() < deadline:
                time.sleep(POLL_S)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a message."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _die_with_parent() -> None:
    """Runs in the child: the kernel ends it when this program is killed outright."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
