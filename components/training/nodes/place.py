"""Where the state of a training is, as the process that started it and its workers see it.

Nodes that share the project's folder share the state in it. With `runtime.store` they need none: the progress of a
training and what Ray keeps of it are objects, and checkpoints are written on the first worker's node and copied into
the store (`checkpoints/copies.py`).
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.config import Runtime
from components.contracts.errors import DataError, ModelError
from components.datasets import remote
from components.runtime.node_folder import node_folder
from components.training.epochs import Progress, ProgressFile, ProgressObjects
from components.training.job import Job, resume_name
from components.training.nodes.materials import SETTING
from components.training.profiling import TRACE

RUNS, RAY, PROGRESS = "runs", "ray", "progress"
STATE_PREFIX = "state-"


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of one training's state; it travels to workers.

    Attributes:
        folder: on the machine that started it, absolute.
        store: `s3://bucket/prefix` for nodes that do not have that folder.
        name: of the training, below the store.
    """

    folder: Path
    store: str | None
    name: str

    @classmethod
    def of(cls, job: Job, folder: Path, runtime: Runtime) -> Place:
        """That of a job. Raises ConfigError: the store has no such address."""
        if runtime.store is not None:
            remote.place_of(runtime.store, where=SETTING)
        return cls(folder=folder.resolve(), store=runtime.store, name=resume_name(job.inputs_sha256))

    def check_code(self, job: Job) -> None:
        """Whether this node has the code of the machine that started the training, from which the job has its name.

        Raises:
            ModelError: it has different code.
        """
        own = resume_name(job.inputs_sha256)
        if self.store is not None and own != self.name:
            raise ModelError(
                "this node has different code than the machine that started the training",
                where=f"{platform.node()}: components/model, components/training",
                seen=own,
                allowed=self.name,
                remedy="Give all nodes the same commit, such as one image",
            )

    @contextmanager
    def here(self) -> Iterator[Path]:
        """The folder of the first worker for its checkpoints and its trace: the one that all share, or its node's own.

        The latter begins empty and goes at the end: what a node has from before may be of a training that is done, or
        older than what was trained since on another one, so only what reached the store counts.
        """
        if self.store is None:
            yield self.folder
            return
        for left in node_folder().glob(f"{STATE_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        own = node_folder() / f"{STATE_PREFIX}{self.name}"
        own.mkdir()
        yield own
        self._send_trace(own)
        shutil.rmtree(own, ignore_errors=True)

    def progress(self) -> Progress:
        """Its epochs, as the first worker tells them."""
        if self.store is None:
            return ProgressFile(self.folder / f"{PROGRESS}.jsonl")
        return ProgressObjects(self._objects / PROGRESS)

    def for_ray(self) -> dict[str, Any]:
        """Where Ray Train writes, as it takes it."""
        if self.store is None:
            return {"storage_path": str(self.folder)}
        filesystem, path = remote.filesystem(self._objects)
        return {"storage_path": path, "storage_filesystem": filesystem}

    def take_trace(self) -> None:
        """Brings the trace, if there is one, into the folder."""
        if self.store is None:
            return
        for item in remote.listing(self._objects):
            if item.name == TRACE:
                remote.fetch(self._objects, self.folder / TRACE, item)

    def forget(self) -> None:
        """Removes what the store has of a training that is done; what cannot be removed is said."""
        if self.store is None:
            return
        try:
            remote.remove(self._objects.parent, self.name)
        except DataError as error:
            print(f"train: its progress stays in {self.store}/{RUNS}/{self.name}: {error}", file=sys.stderr)

    def _send_trace(self, own: Path) -> None:
        """Puts the trace, if there is one, where `take_trace` finds it."""
        try:
            if (own / TRACE).is_file():
                remote.put(own / TRACE, self._objects, TRACE)
        except DataError as error:
            print(f"train: its trace is lost: {error}", file=sys.stderr)

    @property
    def _objects(self) -> Path:
        assert self.store is not None  # as everywhere where it is asked for
        return remote.place_of(self.store, where=SETTING) / RUNS / self.name
