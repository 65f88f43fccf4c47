"""`dvc` without its hints about git and remotes, as `mer run` starts it. DVC's warnings and errors are still printed.

Stages run in a host that imports their libraries once (`stage_host.py`); other commands run as DVC runs them.

Its exit code is that of the stage that failed, 7 where a disk is full, 75 where a different process works on the stage.
DVC's own `--quiet` would hide which stage runs, and errors with it.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.contracts.atomic import atomic_file
from components.contracts.errors import UnavailableError, error_chain
from components.contracts.room import is_full, no_room
from pipelines import lease
from pipelines.lease import Lease
from pipelines.project import written
from pipelines.repro import BUSY, LEASE_VARIABLE
from pipelines.stage_host import StageHost, arguments_of

LOCK_AND_GIT = ("dvc.dvcfile", "dvc.repo.scm_context")  # "Updating lock file", "To track the changes with git, run"
ADVICE = "Use `dvc push`"
SUPPORT = "dvc.org/support"
STAGE_ENDED = re.compile(r"exited with (\d+)$")
BLOCKED = "it is being blocked by:"  # of DVC's locks on paths
END_S = 10.0
LOST = "mer: a different process took this stage over; nothing of it is saved here"


class _Causes(logging.Filter):
    """Reads the exit code from the errors that DVC reports, and reports a full disk in one line."""

    def __init__(self) -> None:
        super().__init__()
        self.exit_code: int | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        if any(BLOCKED in str(link) for link in error_chain(error)):
            self.exit_code = BUSY
        ended = (STAGE_ENDED.search(str(link)) for link in error_chain(error))
        self.exit_code = next((int(match[1]) for match in ended if match), self.exit_code)
        full = no_room(error, written(Path.cwd())) if self.exit_code is None else None
        if full is not None:
            self.exit_code = full.exit_code
            record.msg, record.args, record.exc_info = str(full), (), None
        return True


def _full_disk_ends_it(record: logging.LogRecord) -> bool:
    """DVC reports an output that its cache has no room for, and goes on as if it were stored; it stops only where it
    runs out of open files."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and is_full(error):
        raise error
    return True


def main(arguments: list[str]) -> int:
    """Runs a command of DVC and returns its exit code; with `MER_LEASE` in the environment under a lease."""
    with StageHost() as host:
        if LEASE_VARIABLE not in os.environ:
            return _dvc(arguments, host)
        with Lease(lease.FOLDER, lost=_stop_all) as own:
            _sigterm_interrupts(own)
            _by_token(own)
            return _dvc(arguments, host, own)


def _stop_all() -> None:
    """Interrupts the stage: a different process works on its outputs. DVC ends with it, or is ended."""
    print(LOST, file=sys.stderr)
    if os.getpgrp() == os.getpid():  # started by `mer`, as the first of a group of its own
        os.killpg(os.getpgrp(), signal.SIGINT)
        time.sleep(END_S)  # then it goes on: SIGINT is ignored, as by what a shell has started behind `&`
        os.killpg(os.getpgrp(), signal.SIGTERM)


def _sigterm_interrupts(own: Lease) -> None:
    """Ray stops a job by SIGTERM to each of its processes. DVC would die of it, and its lease would seem alive to
    others until it expires; interrupted, the stage ends, then DVC, and the lease is given back."""

    def end(number: int, frame: object) -> None:
        if not own.held:  # `_stop_all` asks for the second time
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGTERM, end)


def _by_token(own: Lease) -> None:
    """DVC's locks on paths with the token of a lease in place of a process id."""
    import dvc.rwlock
    import psutil

    def exists(number: int) -> bool:
        return lease.alive(lease.FOLDER, number) if number >= lease.FIRST_TOKEN else psutil.pid_exists(number)

    dvc.rwlock.os = SimpleNamespace(getpid=lambda: own.token)
    dvc.rwlock.psutil = SimpleNamespace(pid_exists=exists)


def _dvc(arguments: list[str], host: StageHost, own: Lease | None = None) -> int:
    import dvc.stage.run
    from dvc.cli import main as dvc_main
    from dvc.ui import ui
    from dvc.utils.serialize import _yaml

    for name in LOCK_AND_GIT:
        logging.getLogger(name).setLevel(logging.WARNING)
    causes = _Causes()
    logging.getLogger("dvc.cli").addFilter(causes)
    logging.getLogger("dvc_data.hashfile.transfer").addFilter(_full_disk_ends_it)
    ui.write = _without(ADVICE, ui.write)
    ui.error_write = _without(SUPPORT, ui.error_write)
    _yaml._dump_data = _beside(_yaml._dump_data)
    dvc.stage.run._run = _hosted(host, dvc.stage.run._run, own)
    code = int(dvc_main(arguments) or 0)
    return code if causes.exit_code is None else causes.exit_code


def _hosted(host: StageHost, run: Callable[..., None], own: Lease | None) -> Callable[..., None]:
    """DVC's function that runs a command, with the stages of the table in the host."""
    from dvc.stage.exceptions import StageCmdFailedError

    def hosted(executable: str | None, command: str, **options: Any) -> None:
        arguments = arguments_of(command)
        if arguments is None:
            run(executable, command, **options)
            return fenced(command)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as DVC does: the stage ends, then DVC
        try:
            code = host.run(arguments, folder=options["cwd"], environment=options["env"])
        finally:
            signal.signal(signal.SIGINT, before)
        if code != 0:
            raise StageCmdFailedError(command, code)
        return fenced(command)

    def fenced(command: str) -> None:
        """Before DVC saves the outputs: are they this process's to save?"""
        if own is not None and not own.held:
            print(LOST, file=sys.stderr)
            raise StageCmdFailedError(command, UnavailableError.exit_code)

    return hosted


def _without(words: str, write: Callable[..., None]) -> Callable[..., None]:
    def filtered(*objects: Any, **options: Any) -> None:
        if not (objects and words in str(objects[0])):
            write(*objects, **options)

    return filtered


def _beside(dump: Callable[..., None]) -> Callable[..., None]:
    """DVC writes dvc.lock in place: on a full disk, half of it would be left."""

    def dump_beside(path: Any, *values: Any, **options: Any) -> None:
        with atomic_file(Path(path)) as beside:
            dump(str(beside), *values, **options)

    return dump_beside


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
