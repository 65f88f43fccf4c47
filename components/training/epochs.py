"""How a worker's epochs reach the process that started it: as lines of a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from components.training.job import Epoch

POLL_S = 0.2


def append_epoch(path: Path, epoch: Epoch) -> None:
    """Adds a line."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(epoch)) + "\n")


@contextmanager
def epochs_reported(path: Path, on_epoch: Callable[[Epoch], None]) -> Iterator[None]:
    """Calls `on_epoch` for the lines that rank 0 appends to a file.

    Ray Train's callbacks run in its controller, a different process; the file reaches the calling process. An epoch
    that is repeated after a worker was lost is reported once.
    """
    done = threading.Event()
    last_reported = -1
    problems: list[Exception] = []

    def follow() -> None:
        try:
            read()
        except Exception as problem:  # raised in the calling thread when the training ends
            problems.append(problem)

    def read() -> None:
        nonlocal last_reported
        offset = 0
        while True:
            last_look = done.is_set()
            if path.is_file():
                with path.open(encoding="utf-8") as stream:
                    stream.seek(offset)
                    for line in iter(stream.readline, ""):
                        if not line.endswith("\n"):
                            break
                        offset += len(line.encode())
                        epoch = Epoch(**json.loads(line))
                        if epoch.record["epoch"] > last_reported:
                            last_reported = epoch.record["epoch"]
                            on_epoch(epoch)
            if last_look:
                return
            done.wait(POLL_S)

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if problems:
        raise problems[0]
