"""A process that runs the stages of one `dvc repro` as forks of itself, so that what several stages import is imported
once.

DVC starts the command of a stage, `mer train`, in a new interpreter, which spends more time on imports (Great
Expectations, torch, MLflow) than many a stage on its work. The host starts before DVC is imported, so a stage inherits
nothing of DVC; it has one thread, and before each fork it imports what the stage needs. A stage is a process of its own
as before: its memory, signals and exit code are its own, and it ends with them.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import socket
import sys
import traceback
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from components.runtime.cluster import ADDRESS_VARIABLE
from pipelines.stages import STAGES

COMMAND = re.compile(r"mer (?P<stage>[a-z]+)( --dataset [\w.-]+)?")
DEFECT = 1


def arguments_of(command: str) -> list[str] | None:
    """The arguments of `mer` if a command of `dvc.yaml` is a stage of the table and nothing more."""
    match = COMMAND.fullmatch(command.strip())
    return command.split()[1:] if match and match["stage"] in STAGES else None


class StageHost:
    """The host, as its parent sees it; a context manager. Create it before DVC or any thread starts."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        _flush()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _serve(Connection(theirs.detach()))
        theirs.close()
        self._line = Connection(ours.detach())

    def __enter__(self) -> StageHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the host, which is idle or belongs to a process group that was interrupted as a whole."""
        self._line.close()
        os.waitpid(self._pid, 0)

    def run(self, arguments: Sequence[str], *, folder: str, environment: Mapping[str, str]) -> int:
        """Runs `mer` with these arguments; returns its exit status, negative for a signal."""
        request = {"arguments": list(arguments), "folder": folder, "environment": dict(environment)}
        self._line.send_bytes(json.dumps(request).encode())
        try:
            return int(json.loads(self._line.recv_bytes()))
        except (EOFError, OSError):
            return -signal.SIGKILL  # nothing but a kill ends the host while it is asked


def _serve(line: Connection) -> None:
    """The host: one stage after the other, until its parent closes the line. Does not return."""
    # The whole group receives them; the stage heeds them, and its end is waited for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            request = json.loads(line.recv_bytes())
            _import_for(request)
            _flush()
            stage = os.fork()
            if stage == 0:
                line.close()
                _stage(request)
            status = os.waitpid(stage, 0)[1]
            line.send_bytes(json.dumps(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _import_for(request: Mapping[str, Any]) -> None:
    """Imports what a stage needs; what cannot be imported is reported by the stage itself."""
    import pipelines.cli  # noqa: F401
    from pipelines.stage import one_thread

    one_thread()
    stage = STAGES[request["arguments"][0]]
    with suppress(Exception):
        stage.import_libraries()
        if stage.needs_ray and ADDRESS_VARIABLE in request["environment"]:
            import ray.data  # noqa: F401


def _stage(request: Mapping[str, Any]) -> None:
    """The fork: what `mer` does with these arguments in a process of its own. Does not return."""
    code = DEFECT
    try:
        # What was registered to happen at the end of the host is not for the stage.
        atexit._clear()
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.argv = [str(Path(sys.executable).with_name("mer")), *request["arguments"]]
        from pipelines.cli import call

        code = call(request["arguments"])
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            _flush()
        os._exit(code)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
