"""Files that the actors of a stage hand over while it runs, through a folder or, for nodes without it, an object store.

Each file is named by the SHA-256 of its bytes and appears once it is complete, so a killed actor leaves nothing that is
read, and a task that is done again writes the same file again. Whatever is here belongs to an unfinished run: the stage
takes it into its output, commits that by one manifest of its own, and only then clears this.
"""

from __future__ import annotations

import platform
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import DataError
from components.contracts.fingerprint import file_sha256
from components.contracts.room import full_disk_named
from components.datasets import remote
from components.runtime.node_folder import node_folder

SETTING = "runtime.store"
# What actors read, below the same place in the store.
LENT = "lent"


@dataclass(frozen=True, kw_only=True)
class Staging:
    """The place of one unfinished stage. It holds addresses only, so it travels to actors cheaply.

    Attributes:
        folder: on the machine that runs the stage, absolute; actors write there where all nodes have it.
        address: `s3://bucket/prefix` that actors use instead.
    """

    folder: Path
    address: str | None = None

    @classmethod
    def of(cls, folder: Path, *, store: str | None, stage: str, name: str) -> Staging:
        """Of a stage and dataset; `store` is `runtime.store`. Raises ConfigError: it has no such address."""
        address = None
        if store is not None:
            remote.place_of(store, where=SETTING)
            address = f"{store.rstrip('/')}/partial/{stage}/{name}"
        return cls(folder=folder.resolve(), address=address)

    @property
    def here(self) -> Staging:
        """The same for work that this process does itself."""
        return Staging(folder=self.folder)

    def prepare(self) -> None:
        """Makes the folder; on the machine that runs the stage."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Whether this machine can hand over anything.

        Raises:
            DataError: it has neither the folder nor the address of a store.
        """
        if self.address is None and not self.folder.is_dir():
            raise DataError(
                "this machine does not have the project",
                where=f"{platform.node()}: {self.folder}",
                remedy="Give every node of the cluster the project under that path, or an object store (runtime.store)",
            )

    def add(self, below: str, write: Callable[[Path], None], *, prefix: str = "", suffix: str) -> str:
        """Adds the file that `write` writes to a path, as `<below>/<prefix><SHA-256><suffix>`; returns its name.

        Raises:
            DataError: as `check`, or the store fails.
            UnavailableError: the disk is full.
        """
        self.check()
        folder = self.folder / below if self.address is None else node_folder()
        folder.mkdir(exist_ok=True)
        beside = folder / f".{uuid.uuid4().hex}.tmp"
        try:
            with full_disk_named(folder):
                write(beside)
                name = f"{prefix}{file_sha256(beside)}{suffix}"
                if self.address is None:
                    beside.replace(folder / name)
                else:
                    remote.put(beside, self._place, f"{below}/{name}" if below else name)
                return name
        finally:
            beside.unlink(missing_ok=True)

    def bring(self) -> None:
        """Fetches what actors have left in the store and is not in the folder; damaged objects are removed there.

        Raises:
            DataError: the store fails.
        """
        if self.address is None:
            return
        objects = [item for item in remote.listing(self._place) if item.name.partition("/")[0] != LENT]
        with ThreadPoolExecutor(remote.THREADS) as pool:
            list(pool.map(self._fetch, (item for item in objects if not self._has(item))))

    def lend(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Puts files where actors read them: path → what to open there (`remote.opened`).

        Raises:
            DataError: the store fails.
        """
        if self.address is None:
            return {path: str(path) for path in paths}
        place = self._place / LENT
        sizes = {item.name: item.size for item in remote.listing(place)}
        names = {path: f"{file_sha256(path)}{path.suffix}" for path in paths}
        missing = [(path, name) for path, name in names.items() if sizes.get(name) != path.stat().st_size]
        with ThreadPoolExecutor(remote.THREADS) as pool:
            list(pool.map(lambda entry: remote.put(entry[0], place, entry[1]), missing))
        return {path: f"{self.address}/{LENT}/{name}" for path, name in names.items()}

    def clear(self) -> None:
        """Removes everything, here and in the store: the stage's output contains it. What cannot be removed is said."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.address is None:
            return
        try:
            remote.remove(self._place.parent, self._place.name)
        except DataError as error:
            print(f"what is done already stays in {self.address}: {error}", file=sys.stderr)

    @property
    def _place(self) -> Path:
        return remote.place_of(self.address or "", where=SETTING)

    def _has(self, item: remote.Object) -> bool:
        path = self.folder / item.name
        return path.is_file() and path.stat().st_size == item.size

    def _fetch(self, item: remote.Object) -> None:
        path = self.folder / item.name
        remote.fetch(self._place, path, item)
        if not path.stem.endswith(file_sha256(path)):
            path.unlink()
            remote.remove(self._place, item.name)
