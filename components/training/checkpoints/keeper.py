"""The checkpoints of a training: written by a thread while it goes on, the last and the best ones kept.

    with Checkpoints(folder, inputs_sha256=…, runtime=…) as checkpoints:  # waits at the end for the one in writing
        checkpoints.load(learner)          # the newest one that is whole, if any
        …
        checkpoints.at_boundary(learner)   # after each step

Each is a folder named by the samples consumed, which is renamed into place when it is complete. The training waits only
for a copy of the tensors, and for the one before if that is still being written. When one cannot be written, as on a
full disk, the training goes on with a word, and those that are there stay. With `runtime.checkpoints` each is also
copied into an object store (`copies.py`), and one that only the store has is brought from there.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from components.contracts.atomic import read_json
from components.contracts.config import Runtime
from components.contracts.errors import DataError, ModelError
from components.contracts.room import no_room
from components.training.checkpoints.copies import Copies
from components.training.checkpoints.state import STATE, Snapshot, load_checkpoint, snapshot, write_checkpoint
from components.training.learner import Learner

DIGITS = 12
SECONDS_PER_MINUTE = 60.0
# Two, so that one that turns out to be torn has one before it.
LAST = 2


class Checkpoints:
    """The checkpoints of one training in a folder, with copies of them elsewhere if there are any. One process at a
    time writes there."""

    def __init__(self, folder: Path, *, inputs_sha256: str, runtime: Runtime, copies: Copies | None = None) -> None:
        self.folder, self.inputs_sha256, self.runtime, self.copies = folder, inputs_sha256, runtime, copies
        self._taken_at, self._steps = time.monotonic(), 0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._failing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait()
        self._writer.shutdown()

    def names(self) -> list[str]:
        """Those that are there, the newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path.name for path in self.folder.iterdir() if path.name.isdecimal()), reverse=True)

    def load(self, learner: Learner) -> Snapshot | None:
        """Loads the newest checkpoint that is whole and of this training; says which ones it passes over.

        Returns:
            it, or None where there is none and the learner is at its start.

        Raises:
            DataError: the object store of the copies fails.
        """
        copied = self.copies.names()[:LAST] if self.copies is not None else ()
        for name in sorted({*self.names(), *copied}, reverse=True):
            try:
                return self.load_named(name, learner)
            except ModelError as error:
                print(f"train: a checkpoint is passed over for the one before it: {error}", file=sys.stderr)
        return None

    def load_named(self, name: str, learner: Learner) -> Snapshot:
        """Loads one. Raises ModelError: it is damaged, or of a different training; DataError: it cannot be brought."""
        if self.copies is not None and not (self.folder / name).is_dir():
            self.copies.fetch(self.folder / name)
        taken = load_checkpoint(self.folder / name, learner, inputs_sha256=self.inputs_sha256)
        before = taken.state.get("precision", learner.precision)
        if before != learner.precision:
            print(
                f"train: the checkpoint was trained in {before}, and training goes on in {learner.precision}, as this "
                "device has it; set train.precision for one throughout",
                file=sys.stderr,
            )
        return taken

    def at_boundary(self, learner: Learner) -> None:
        """Takes a checkpoint if it is time for one. To be called after every step."""
        if self.due():
            self.take(learner)

    def due(self) -> bool:
        """Whether it is time for a checkpoint. To be asked once after every step."""
        self._steps += 1
        every = self.runtime.checkpoint_steps
        late = time.monotonic() - self._taken_at >= self.runtime.checkpoint_minutes * SECONDS_PER_MINUTE
        return late or (every is not None and self._steps % every == 0)

    def take(self, learner: Learner) -> None:
        """Takes a checkpoint."""
        self._wait()
        self._taken_at = time.monotonic()
        self._writing = self._writer.submit(self._write, snapshot(learner, inputs_sha256=self.inputs_sha256))

    def take_last(self, learner: Learner) -> None:
        """Takes a checkpoint of a training that has to stop at a boundary, unless there is one of this state."""
        self._wait()
        if learner.samples and _name(learner.samples) not in self.names():
            self.take(learner)

    def forget(self) -> None:
        """Removes the copies of a training that is done; what cannot be removed is said, since nothing needs it."""
        if self.copies is None:
            return
        try:
            self.copies.clear()
        except DataError as error:
            print(f"train: copies of checkpoints stay in {self.copies.address}: {error}", file=sys.stderr)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _write(self, state: Snapshot) -> None:
        path = self.folder / _name(state.samples)
        try:
            write_checkpoint(path, state)
            self._drop(self.names())
            self._copy(path)
            self._failing = False
        except Exception as error:
            if not self._failing:
                reason = no_room(error, [self.folder]) or f"{path}: {error}"
                print(f"train: a checkpoint cannot be written, training goes on without: {reason}", file=sys.stderr)
            self._failing = True

    def _drop(self, names: list[str]) -> None:
        """Removes all but the last ones and those with the lowest loss."""
        best = sorted(names, key=self._loss)[: self.runtime.checkpoints_best]
        for name in _without(names[LAST:], best):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _copy(self, path: Path) -> None:
        """Copies a checkpoint, and removes the copies of those that are not kept."""
        if self.copies is None:
            return
        self.copies.put(path)
        for name in _without(self.copies.names(), self.names()):
            self.copies.drop(name)

    def _loss(self, name: str) -> float:
        """The training loss of the last whole epoch before it. Scores on held-out people choose nothing."""
        try:
            return float(read_json(self.folder / name / STATE)["history"][-1]["loss"])
        except (OSError, ValueError, LookupError, TypeError):
            return float("inf")


def _name(samples: int) -> str:
    return f"{samples:0{DIGITS}d}"


def _without(names: Iterable[str], kept: Iterable[str]) -> list[str]:
    spared = set(kept)
    return [name for name in names if name not in spared]
