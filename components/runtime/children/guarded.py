"""Work on untrusted files in a separate process, so that a bad file affects no other work.

A decoder is a hundred thousand lines of C: on a crafted file it may crash, never return, or allocate all memory.
Neither Python nor Ray can undo that. So media files are opened in a child process:

    crash          the child dies; the request is tried once more in a new child, then `ChildEndedError` is raised
    hang           the kernel's alarm ends the child after `max_work_s` of processor time, or when the caller's
                   patience ends: `ChildEndedError`, without a second try
    nobody waits   a caller that gives up ends its request, and the child with it
    memory         the kernel refuses more than `max_memory_mb` beyond what an idle child uses: a MemoryError there

The alarms and the memory limit are the kernel's, so they hold in the middle of foreign code, and for a child whose
parent has ended; an idle child ends with its parent, however that ends. Starting the first child of a kind takes as
long as its imports, a later one milliseconds (`fork_server.py`), a request about a millisecond more than without a
child. After its start a child sends JSON and bytes, never a pickle.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import resource
import signal
import socket
import subprocess
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from components.contracts import errors
from components.contracts.config import MediaLimits
from components.contracts.errors import MerError, UnavailableError
from components.runtime.children.confinement import confine, leave_network
from components.runtime.children.fork_server import Child, fork_server
from components.runtime.memory import GrownMemory
from components.runtime.patience import GivenUpError, OutOfTimeError, Patience

Fields = dict[str, Any]
# The work of a child: takes a request's fields (its bytes as the field `BODY`), returns an answer's fields and bytes.
Handler = Callable[[Fields], tuple[Fields, bytes | None]]

ATTEMPTS = 2  # a child may be killed because of its neighbours; twice in a row with one file, the file is the cause
CHILD = "from components.runtime.children.guarded import child; child()"
SOON_S = 0.001  # an alarm in 0 s is none
END_S = 5.0  # a child ends immediately on SIGTERM
KIB = 1 << 10
MIB = 1 << 20
READY = b"ready"
BODY = "body"


class ChildEndedError(Exception):
    """A request ended the child that worked on it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    @property
    def over_work(self) -> bool:
        """Whether it took more than `max_work_s`."""
        return -self.status == signal.SIGPROF

    @property
    def over_time(self) -> bool:
        """Whether it took longer than the caller's patience."""
        return -self.status == signal.SIGALRM

    @property
    def how(self) -> str:
        """In words, such as ``signal SIGSEGV, 2 times``."""
        return f"{_how(self.status)}, {ATTEMPTS} times"


class Guarded:
    """A child process with one handler, restarted whenever it dies. Threads take turns.

    Args:
        serve: ``module:function``; the child calls it with `settings` to get its `Handler`. A function `imports` of the
            module, called with `settings`, makes the imports that its children share.
        settings: the handler's settings, JSON, sent once.
        limits: `max_work_s` and `max_memory_mb` of a request.
        bare: whether the child gets only what it needs of the environment (`fork_server.is_plain`).
        only: the folders that the child may read besides Python's own; it may then do nothing else to the system, as
            far as the kernel can see to that (`confinement`). None: it may do what its parent may.
    """

    def __init__(
        self,
        serve: str,
        settings: Mapping[str, Any],
        limits: MediaLimits,
        *,
        bare: bool = False,
        only: Sequence[Path] | None = None,
    ) -> None:
        self._bare = bare
        setup = {
            "serve": serve,
            "settings": settings,
            "limits": limits.model_dump(mode="json"),
            "only": None if only is None else [str(folder) for folder in only],
        }
        self._serve = serve
        self._settings = settings
        self._setup = json.dumps(setup).encode()
        self._turn = threading.Lock()
        self._child: Child | None = None
        self._line: Connection | None = None
        self._ready = False
        self._end: weakref.finalize[..., Any] | None = None

    def start(self) -> None:
        """Starts the child if there is none, without waiting for it."""
        with self._turn:
            self._start()

    def wait(self) -> None:
        """Starts the child if there is none, and waits until it accepts requests; raises as `ask`."""
        with self._turn:
            self._wait()

    def ask(
        self,
        request: Mapping[str, Any],
        body: bytes | None = None,
        *,
        work_s: float | None = None,
        patience: Patience | None = None,
    ) -> tuple[Fields, bytes | None]:
        """The child's answer to a request.

        Args:
            request: JSON.
            body: bytes that belong to it.
            work_s: the most processor time that it may take, where that is less than `max_work_s`.
            patience: how long the caller waits, also for its turn; by default as long as it takes.

        Raises:
            MerError: as the handler raised it.
            ChildEndedError: the request ended the child; a new one is being started.
            GivenUpError, OutOfTimeError: the patience of the caller ended.
            UnavailableError: no child can be started.
            RuntimeError: a defect of the handler, with its trace.
        """
        patience = patience or Patience()
        with patience.turn(self._turn):
            fields, reply = self._answer({"request": dict(request), "work_s": work_s}, body, patience)
        if "error" in fields:
            raise _error_of(fields["error"])
        if "defect" in fields:
            raise RuntimeError(fields["defect"])
        return fields["answer"], reply

    def close(self) -> None:
        """Ends the child. The next request would start a new one."""
        with self._turn:
            if self._child is not None:
                self._bury()

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child else None

    def _answer(self, envelope: Fields, body: bytes | None, patience: Patience) -> tuple[Fields, bytes | None]:
        for attempt in range(1, ATTEMPTS + 1):
            line = self._wait()
            try:
                with patience.until(self._interrupt):
                    _send(line, {**envelope, "wall_s": patience.remaining_s}, body)
                    return _received(line)
            except (GivenUpError, OutOfTimeError):
                raise  # before anything was sent
            except (EOFError, OSError):
                ended = ChildEndedError(self._bury(dead=True))
            except BaseException:
                self._bury()  # its answer to this request must not be taken for that to the next one
                raise
            self._start()  # now, so that it is ready for the next request
            if patience.given_up:
                raise GivenUpError from ended
            if ended.over_work or ended.over_time or attempt == ATTEMPTS:
                raise ended
        raise AssertionError("unreachable")

    def _interrupt(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _start(self) -> None:
        if self._child is not None:
            return
        ours, theirs = socket.socketpair()
        module = self._serve.partition(":")[0]
        with theirs:
            self._child = fork_server(module, bare=self._bare).start(CHILD, self._settings, stdin=theirs.fileno())
        self._line = Connection(ours.detach())
        self._end = weakref.finalize(self, _end, self._child, self._line)
        self._line.send_bytes(self._setup)

    def _wait(self) -> Connection:
        self._start()
        assert self._line is not None
        if self._ready:
            return self._line
        try:
            reply = self._line.recv_bytes()
        except (EOFError, OSError) as error:
            raise UnavailableError(
                "the process that decodes media ended before its first file",
                where="guard",
                seen=_how(self._bury(dead=True)),
                remedy="Its messages are on the standard error output; too little memory is the usual reason",
            ) from error
        if reply != READY:
            self._bury()
            raise pickle.loads(reply)
        self._ready = True
        return self._line

    def _bury(self, *, dead: bool = False) -> int:
        """Ends the child and waits for it; returns its exit status, negative for a signal. A child that closed its end
        of the line is already `dead`."""
        child, line, end = self._child, self._line, self._end
        assert child is not None
        assert line is not None
        assert end is not None
        self._child, self._line, self._end, self._ready = None, None, None, False
        end.detach()
        return _end(child, line, dead=dead)


class InChild:
    """What does its work in a guarded child, `_child`."""

    _child: Guarded

    def start(self) -> None:
        """Starts the child without waiting for it."""
        self._child.start()

    def wait(self) -> None:
        """Waits until the child is ready; raises UnavailableError, or what its start raises."""
        self._child.wait()

    def close(self) -> None:
        """Ends the child. The next clip would start a new one."""
        self._child.close()

    @property
    def pid(self) -> int | None:
        """The child's process id, while it runs."""
        return self._child.pid


def _end(child: Child, line: Connection, *, dead: bool = False) -> int:
    line.close()
    if not dead:
        child.terminate()
    try:
        return child.wait(timeout=END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def child() -> None:
    """The child: reads requests from its standard input, a socket, and answers there, until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it too, and closes the line
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    line = Connection(os.dup(0))
    setup = json.loads(line.recv_bytes())
    limits = MediaLimits.model_validate(setup["limits"])
    module, _, name = setup["serve"].partition(":")
    if setup["only"] is not None:
        leave_network()  # now, while it has one thread
    try:
        handler: Handler = getattr(importlib.import_module(module), name)(setup["settings"])
    except Exception as error:
        line.send_bytes(pickle.dumps(error))
        return
    _bound_memory(limits)
    if setup["only"] is not None:
        confine(map(Path, setup["only"]))
    with suppress(EOFError, ConnectionError):  # the parent has ended
        line.send_bytes(READY)
        _serve(line, handler, limits)


def _serve(line: Connection, handler: Handler, limits: MediaLimits) -> None:
    memory = GrownMemory()
    while True:
        envelope, body = _received(line)
        work_s, wall_s = envelope["work_s"] or limits.max_work_s, envelope["wall_s"]
        signal.setitimer(signal.ITIMER_PROF, min(work_s, limits.max_work_s))  # their alarms end the process
        signal.setitimer(signal.ITIMER_REAL, 0.0 if wall_s is None else max(wall_s, SOON_S))
        request = envelope["request"]
        fields, reply = _handled(handler, request if body is None else {**request, BODY: body})
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        _send(line, fields, reply)
        del request, fields, reply, body
        memory.look()


def _send(line: Connection, fields: Fields, body: bytes | None) -> None:
    line.send_bytes(json.dumps({**fields, "bytes": body is not None}).encode())
    if body is not None:
        line.send_bytes(body)


def _received(line: Connection) -> tuple[Fields, bytes | None]:
    fields = json.loads(line.recv_bytes())
    return fields, line.recv_bytes() if fields.pop("bytes") else None


def _handled(handler: Handler, request: Fields) -> tuple[Fields, bytes | None]:
    try:
        answer, body = handler(request)
    except MerError as error:
        return {"error": _fields_of(error)}, None
    except Exception:  # a mere defect must not end the child; `ask` raises it in the parent
        return {"defect": traceback.format_exc()}, None
    return {"answer": answer}, body


def _fields_of(error: MerError) -> Fields:
    plain = {key: _plain(value) for key, value in error.fields.items()}
    return {"kind": type(error).__name__, "what": error.what, "fields": plain}


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _error_of(sent: Fields) -> MerError:
    kind = getattr(errors, sent["kind"], None)
    in_tree = isinstance(kind, type) and issubclass(kind, MerError)
    return (kind if in_tree else MerError)(sent["what"], **sent["fields"])  # type: ignore[misc]


def _bound_memory(limits: MediaLimits) -> None:
    """Limits the further growth of private memory to `max_memory_mb`; without /proc, nothing is set."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return
    used = next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + limits.max_memory_mb * MIB,) * 2)


def _how(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
