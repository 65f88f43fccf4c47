"""How a worker's epochs reach the process that started it: as lines of a file, or as objects in a store."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from components.contracts.errors import DataError
from components.datasets import remote
from components.training.job import Epoch


class Progress(Protocol):
    """The epochs of a training. One process appends, another one reads."""

    poll_s: float

    def clear(self) -> None:
        """Forgets those of an earlier run."""

    def append(self, epoch: Epoch) -> None:
        """Adds one."""

    def news(self) -> Iterator[Epoch]:
        """Those that were not read yet."""


class ProgressFile:
    """As lines of a file that both processes have."""

    poll_s = 0.2

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def clear(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)

    def append(self, epoch: Epoch) -> None:
        """Adds a line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_to_json(epoch) + "\n")

    def news(self) -> Iterator[Epoch]:
        """The lines that are complete and were not read yet."""
        if not self._path.is_file():
            return
        with self._path.open(encoding="utf-8") as stream:
            stream.seek(self._offset)
            for line in iter(stream.readline, ""):
                if not line.endswith("\n"):
                    break
                self._offset += len(line.encode())
                yield _from_json(line)


class ProgressObjects:
    """As one object per epoch. A store that is away ends no training: what it did not get is in the history."""

    poll_s = 2.0

    def __init__(self, place: Path) -> None:
        self._place, self._read, self._failing = place, "", False
        self._unsent: list[Epoch] = []

    def clear(self) -> None:
        """Removes the objects. Raises DataError: the store fails."""
        for item in remote.listing(self._place):
            remote.remove(self._place, item.name)

    def append(self, epoch: Epoch) -> None:
        """Writes an object that is named by the epoch, after those that the store did not take before."""
        self._unsent.append(epoch)
        with self._said("an epoch cannot be told of"):
            while self._unsent:
                first = self._unsent[0]
                remote.write(_to_json(first).encode(), self._place, f"{first.number:08d}.json")
                del self._unsent[0]

    def news(self) -> Iterator[Epoch]:
        """The epochs after the last one that was read, in order."""
        with self._said("epochs cannot be read"):
            for name in sorted(item.name for item in remote.listing(self._place)):
                if name > self._read:
                    epoch = _from_json(remote.read(self._place, name).decode())
                    self._read = name
                    yield epoch

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Says that the store fails, once until it answers again."""
        try:
            yield
        except DataError as error:
            if not self._failing:
                print(f"train: {what}, training goes on: {error}", file=sys.stderr)
            self._failing = True
        else:
            self._failing = False


@dataclass
class Reported:
    """The number of the last epoch that was reported; -1 before the first."""

    last: int = -1


@contextmanager
def epochs_reported(progress: Progress, on_epoch: Callable[[Epoch], None]) -> Iterator[Reported]:
    """Calls `on_epoch` for the epochs that rank 0 appends.

    Ray Train's callbacks run in its controller, a different process; this reaches the calling process. An epoch that is
    repeated after a worker was lost is reported once.
    """
    done = threading.Event()
    reported = Reported()
    problems: list[Exception] = []

    def follow() -> None:
        try:
            read()
        except Exception as problem:  # raised in the calling thread when the training ends
            problems.append(problem)

    def read() -> None:
        while True:
            last_look = done.is_set()
            for epoch in progress.news():
                if epoch.number > reported.last:
                    reported.last = epoch.number
                    on_epoch(epoch)
            if last_look:
                return
            done.wait(progress.poll_s)

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield reported
    finally:
        done.set()
        thread.join()
    if problems:
        raise problems[0]


def _to_json(epoch: Epoch) -> str:
    return json.dumps(asdict(epoch))


def _from_json(text: str) -> Epoch:
    return Epoch(**json.loads(text))
