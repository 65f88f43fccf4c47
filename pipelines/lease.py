"""Leases: who works in a project that several machines or containers share.

DVC keeps who reads and writes which path in a file, each by its process id, and takes an entry over when there is no
process of that id. In a different PID namespace or on a different machine that says nothing: two tasks would run the
same stage at once, each believing the other dead. With a lease DVC sees, in place of the process id, a fencing token
that is never given twice. Its holder shows that it lives by touching the lease's file (a heartbeat); a lease without a
heartbeat for `EXPIRY_S` is taken over by deleting the file. The holder, should it only have been paused, finds the file
missing, stops its work and saves nothing.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

FOLDER = Path(".dvc") / "tmp" / "leases"
BEAT_S = 10.0
# More than the time for which NFS clients may cache a file's attributes (60 s); opening the file refreshes them.
EXPIRY_S = 90.0
# No process id is as large: the kernel's limit is 2**22.
FIRST_TOKEN = 2**32


class Lease:
    """A lease that is held; a context manager. Starts a thread, so create it after the process has forked.

    Args:
        folder: the same for all who share the project.
        lost: called in that thread, once, when the lease was taken over or its file cannot be touched.
        beat_s, expiry_s: seconds between heartbeats, and without one until the lease is taken over.
    """

    def __init__(
        self,
        folder: Path,
        lost: Callable[[], None] = lambda: None,
        *,
        beat_s: float = BEAT_S,
        expiry_s: float = EXPIRY_S,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.token, self._path = _created(folder)
        self._lost = lost
        self._beat_s = beat_s
        self._patience_s = expiry_s - 2 * beat_s  # the holder gives up before another takes over
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lease back."""
        self._ended.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    @property
    def held(self) -> bool:
        """Whether it is still this process's: to be asked before results are saved."""
        return self._path.exists()

    def _beat(self) -> None:
        touched = time.monotonic()
        while not self._ended.wait(self._beat_s):
            try:
                os.utime(self._path)
                touched = time.monotonic()
            except FileNotFoundError:
                break
            except OSError:  # the storage does not answer
                if time.monotonic() - touched > self._patience_s:
                    break
        if not self._ended.is_set():
            self._lost()


def alive(folder: Path, token: int, *, expiry_s: float = EXPIRY_S) -> bool:
    """Whether the holder of a token works. If it does not, its lease is taken from it.

    In the same PID namespace its process is looked at, and a crash shows at once; otherwise its heartbeat.
    """
    path = folder / str(token)
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        age_s = _now(folder) - path.stat().st_mtime
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    works = _runs(holder) if holder["space"] == _space() else age_s < expiry_s
    if not works:
        path.unlink(missing_ok=True)
    return works


def release(folder: Path, run_id: str) -> int:
    """Takes their leases from all holders that belong to a run, which has ended; returns how many."""
    released = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError, json.JSONDecodeError):  # given back, or taken over, meanwhile
            if path.name.isdecimal() and json.loads(path.read_text(encoding="utf-8")).get("run") == run_id:
                path.unlink()
                released += 1
    return released


def _created(folder: Path) -> tuple[int, Path]:
    """A new token and its file. Tokens grow with the clock, and past the largest one where clocks differ."""
    own = psutil.Process()
    run = os.environ.get("MER_RUN_ID", "")
    holder = json.dumps({"space": _space(), "pid": own.pid, "started": own.create_time(), "run": run})
    while True:
        known = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
        token = max([time.time_ns() // 1000, *(number + 1 for number in known), FIRST_TOKEN])
        beside = folder / f".{uuid.uuid4().hex}"
        beside.write_text(holder, encoding="utf-8")
        path = folder / str(token)
        try:
            os.link(beside, path)  # fails where it exists, and is never seen half written
        except FileExistsError:
            continue
        finally:
            beside.unlink()
        return token, path


def _space() -> str:
    """Identifies the PID namespace among all machines. Without /proc: the machine, which then has only one."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return os.uname().nodename


def _runs(holder: dict[str, float]) -> bool:
    try:
        return psutil.Process(int(holder["pid"])).create_time() == holder["started"]
    except psutil.NoSuchProcess:
        return False


def _now(folder: Path) -> float:
    """The time of the clock that stamps this folder's files, the server's on a network file system."""
    probe = folder / f".{uuid.uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
