"""Children that start in milliseconds: each is a fork of a process that has made their imports.

A guarded child (`guarded.py`) imports for a second or more, which a file that kills it would cost again. So the first
child of a kind starts a server: a process with one thread that imports what such children need and is forked for each
of them. A child has its own standard input and error, environment and folder, as if it were started directly. The
server ends with the process that started it, however that ends. Children of a process that has changed its effective
user come from a server that runs as that user.

A process that has made the same imports itself can be forked instead (`ForkServer.prepare_here`): of torch they take
two seconds.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from threadpoolctl import threadpool_limits

SERVER = "import sys; from components.runtime.children.fork_server import serve; serve(sys.argv[1])"
# What a child needs of the environment of a process that may hold passwords and tokens in it.
PLAIN = frozenset({"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"})
BEGINNINGS = (
    "PYTHON",
    "LC_",
    "MER_",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "CUDA_",
    "NVIDIA_",
    "MALLOC_",
    "HF_",
    "TORCH_",
)
SECRET = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "KEY")
LENGTH = struct.Struct("!Q")
NUMBER = struct.Struct("!q")
FILES = 3  # sent with a request: the child's standard input and error, and the server's end of the child's channel
LOST = -signal.SIGKILL  # of a child whose server is gone, which nothing but a kill ends early

Request = dict[str, Any]


class Child:
    """A child process, with the part of the interface of `subprocess.Popen` that is needed.

    Over its channel the server sends its process id, and its exit status when it has ended.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pid: int | None = None
        self._status: int | None = None

    @property
    def pid(self) -> int:
        """Its process id; waits until the server has made it."""
        if self._pid is None:
            self._pid = self._number()
        return self._pid

    def terminate(self) -> None:
        """Sends SIGTERM, unless it has ended."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL, unless it has ended."""
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self._status is None:
            _ = self.pid
            if timeout is not None and not select.select([self._channel], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(SERVER, timeout)
            self._status = self._number()
            self._channel.close()
        return self._status

    def _signal(self, number: int) -> None:
        if self.pid > 0 and self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _number(self) -> int:
        try:
            data = self._channel.recv(NUMBER.size, socket.MSG_WAITALL)
        except OSError:
            data = b""
        return int(NUMBER.unpack(data)[0]) if len(data) == NUMBER.size else LOST


class _Forked:
    """A fork of this process, with the part of the interface of `subprocess.Popen` that is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """Sends SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Waits for its end."""
        os.waitpid(self.pid, 0)


class ForkServer:
    """The server of one kind of children, as its parent sees it. Threads take turns.

    Args:
        module: what it imports. If the module has a function `imports`, it is called with a child's settings before the
            fork.
        bare: whether children get only what they need of the environment: those that read strangers' files.
    """

    def __init__(self, module: str, *, bare: bool = False) -> None:
        self._bare = bare
        self._module = module
        self._command = [sys.executable, "-c", SERVER, module]  # which identifies it in a list of processes
        self._turn = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | _Forked | None = None

    def prepare(self, settings: Mapping[str, Any]) -> None:
        """Starts the server, and with it the imports for such children, without waiting for them."""
        with self._turn, suppress(OSError):  # the first child tries again
            _send(self._connected(), {"settings": settings}, [])

    def prepare_here(self, settings: Mapping[str, Any]) -> None:
        """As `prepare`, with a fork of this process as the server, which has what was imported here.

        A process with more threads may not fork: a lock that another one holds would stay closed. Nor does the server
        of `bare` children come from it: they could read this process's environment in their memory. There this does
        what `prepare` does.
        """
        with self._turn:
            if self._line is None and not self._bare and threading.active_count() == 1:
                self._line, theirs = socket.socketpair()
                with theirs:
                    pid = os.fork()
                    if pid == 0:
                        _become_server(self._module, theirs.fileno())
                self._process = _Forked(pid)
        self.prepare(settings)

    def start(self, program: str, settings: Mapping[str, Any], *, stdin: int) -> Child:
        """Starts a child without waiting for it. The server starts with the first one.

        Args:
            program: Python text that the child executes, as `python -c` does.
            settings: for `imports`, JSON.
            stdin: a file descriptor, for its standard input.
        """
        request = {"program": program, "settings": settings, "environment": self._environment(), "folder": _folder()}
        ours, theirs = socket.socketpair()
        with self._turn, theirs:
            files = [stdin, 2, theirs.fileno()]
            try:
                _send(self._connected(), request, files)
            except OSError:  # the server was killed
                self._end()
                _send(self._connected(), request, files)
        return Child(ours)

    def _connected(self) -> socket.socket:
        if self._line is None:
            self._line, theirs = socket.socketpair()
            path = os.pathsep.join(path for path in sys.path if path)
            # One thread: sums of floats depend on their number, and on a busy machine they only wait for each other.
            environment = {**self._environment(), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
            with theirs:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,  # libraries may print there
                    env=environment,
                )
        return self._line

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not self._bare or is_plain(name)}

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._line = self._process = None


_servers: dict[tuple[object, ...], ForkServer] = {}
_choice = threading.Lock()


def fork_server(module: str, *, bare: bool = False) -> ForkServer:
    """The server of this process, and of its present user, for children that need a module; see `ForkServer`."""
    with _choice:
        key = (module, bare, os.getpid(), os.geteuid(), os.getegid())
        return _servers.setdefault(key, ForkServer(module, bare=bare))


def is_plain(name: str) -> bool:
    """Whether a variable of the environment is one that a child needs, and by its name not a secret."""
    needed = name in PLAIN or name.startswith(BEGINNINGS)
    return needed and not any(word in name for word in SECRET)


def _folder() -> str:
    """The current folder; empty where it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _become_server(module: str, line: int) -> NoReturn:
    """Goes on as the server of a module, in a fork of the process that children are needed in."""
    try:
        # What the parent has opened belongs to it: nothing here closes it again under a number that is used anew.
        gc.freeze()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(line, 0)
        os.dup2(nowhere, 1)  # libraries may print there
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        threadpool_limits(1)  # as OMP_NUM_THREADS, which numpy reads when it is imported
        serve(module)
    finally:
        os._exit(0)


def serve(module: str) -> None:
    """The server of the children that need a module: forks until its parent closes the line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it too
    line = socket.socket(fileno=os.dup(0))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    channels: dict[int, socket.socket] = {}
    while True:
        ready = select.select([line.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _report_ended(channels)
        if line.fileno() in ready:
            received = _receive(line)
            if received is None:
                return
            request, files = received
            _import_for(module, request)
            if not files:  # `prepare`
                continue
            own = [line.fileno(), woken, wake, *(channel.fileno() for channel in channels.values())]
            _fork(request, files, channels, own)


def _import_for(module: str, request: Request) -> None:
    with suppress(Exception):  # the child meets the error again, and says so
        if imports := getattr(import_module(module), "imports", None):
            imports(request["settings"])


def _fork(request: Request, files: list[int], channels: dict[int, socket.socket], own: list[int]) -> None:
    stdin, stderr, channel = files
    gc.freeze()  # a collection in the child would write to, and so copy, all that it shares with this process
    pid = os.fork()
    if pid == 0:
        _child(request, stdin, stderr, close=[channel, *own])
    os.close(stdin)
    os.close(stderr)
    channels[pid] = socket.socket(fileno=channel)
    with suppress(OSError):  # the parent has ended
        channels[pid].sendall(NUMBER.pack(pid))


def _child(request: Request, stdin: int, stderr: int, *, close: list[int]) -> None:
    """The fork. Does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(stdin, 0)
        os.dup2(stderr, 2)
        for descriptor in (stdin, stderr, *close):
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(request["environment"], OMP_NUM_THREADS="1")
        with suppress(OSError):  # a folder that was deleted, where other processes go on too
            os.chdir(request["folder"])
        exec(request["program"], {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _report_ended(channels: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            channel = channels.pop(ended[0])
            with channel, suppress(OSError):
                channel.sendall(NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))


def _send(line: socket.socket, request: Request, files: list[int]) -> None:
    body = json.dumps(request).encode()
    if files:
        socket.send_fds(line, [LENGTH.pack(len(body))], files)
    else:
        line.sendall(LENGTH.pack(len(body)))
    line.sendall(body)


def _receive(line: socket.socket) -> tuple[Request, list[int]] | None:
    """The next request; None at the end of the line."""
    length, files, _, _ = socket.recv_fds(line, LENGTH.size, FILES)
    if len(length) != LENGTH.size:
        return None
    return json.loads(line.recv(LENGTH.unpack(length)[0], socket.MSG_WAITALL)), files
