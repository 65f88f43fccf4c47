"""How a worker's epochs reach the process that started it: as lines of a file, or as objects in a store."""

from __future__ import annotations

import json
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from components.contracts.atomic import append_lines
from components.contracts.errors import DataError, UnavailableError
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


class _Told(ABC):
    """What full disks and stores that are away cost: nothing, since an epoch that could not be told of is told before
    the next one, and the history that a training returns has them all."""

    def __init__(self) -> None:
        self._failing = False
        self._untold: list[Epoch] = []

    def append(self, epoch: Epoch) -> None:
        """Tells of an epoch, after those that could not be told before."""
        self._untold.append(epoch)
        with self._said("an epoch cannot be told of"):
            while self._untold:
                self._tell(self._untold[0])
                del self._untold[0]

    @abstractmethod
    def _tell(self, epoch: Epoch) -> None:
        """Tells of one. Raises DataError, UnavailableError: it cannot."""

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Says that the disk or the store fails, once until it takes or gives an epoch again."""
        try:
            yield
        except (DataError, UnavailableError) as error:
            if not self._failing:
                print(f"train: {what}, training goes on: {error}", file=sys.stderr)
            self._failing = True
        else:
            self._failing = False


class ProgressFile(_Told):
    """As lines of a file that both processes have."""

    poll_s = 0.2

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._offset = path, 0

    def clear(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)

    def _tell(self, epoch: Epoch) -> None:
        """Adds a line. Raises UnavailableError: the disk is full."""
        append_lines(self._path, _to_json(epoch) + "\n")

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


class ProgressObjects(_Told):
    """As one object per epoch, named by its number."""

    poll_s = 2.0

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place, self._read = place, ""

    def clear(self) -> None:
        """Removes the objects. Raises DataError: the store fails."""
        for item in remote.listing(self._place):
            remote.remove(self._place, item.name)

    def _tell(self, epoch: Epoch) -> None:
        """Writes an object. Raises DataError: the store fails."""
        remote.write(_to_json(epoch).encode(), self._place, f"{epoch.number:08d}.json")

    def news(self) -> Iterator[Epoch]:
        """The epochs after the last one that was read, in order."""
        with self._said("epochs cannot be read"):
            for name in sorted(item.name for item in remote.listing(self._place)):
                if name > self._read:
                    epoch = _from_json(remote.read(self._place, name).decode())
                    self._read = name
                    yield epoch


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
