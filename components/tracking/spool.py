"""The records of one run on disk, in their order, and how many of them MLflow has. Importing this imports no MLflow.

    records.jsonl     one record per line: the call of `Run` that it stands for, its arguments, and when it was made
    files/            what is to become artifacts, copied when it was recorded
    delivered.json    the store, the run there, and the number of records it has

On a full disk new records wait in memory, where all of them are anyway, and are written with the next one that fits.
Until then they are not delivered either: after a crash nobody would know that MLflow has them. At the end they are
(`settle`).

A process may die between a delivery and the note of it. The record is then delivered twice, which changes nothing:
MLflow takes equal parameters, tags, data sets and artifacts once, also equal metrics, whose time is part of the record.
The opening of a run is the exception, and a run that was opened is found by a tag that names the spool.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.contracts.atomic import append_lines, read_json, write_json
from components.contracts.errors import UnavailableError

RECORDS = "records.jsonl"
FILES = "files"
DELIVERED = "delivered.json"


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What MLflow has: in the store `uri` the run `run_id`, with the first `records` records."""

    uri: str
    run_id: str
    records: int


class Spool:
    """The records of one run in a folder. One process at a time writes to it; it may be opened again after a crash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.records = self._whole_records()
        self._written = len(self.records)
        self._settled = False
        # Why the last records are in memory only.
        self.full: UnavailableError | None = None
        path = folder / DELIVERED
        # None before the run was opened in MLflow.
        self.delivered = Delivered(**read_json(path)) if path.is_file() else None
        self.name = str(self.records[0]["name"]) if self.records else uuid.uuid4().hex
        self.params: dict[str, Any] = {}
        self._steps: set[tuple[str, int]] = set()
        for record in self.records:
            self._remember(record)

    def append(self, call: str, at_ms: int, **arguments: Any) -> None:
        """Adds a record; returns when it is in the file, or `full` says why it is not."""
        record = {"call": call, "at_ms": at_ms, "arguments": arguments, "name": self.name}
        self._remember(record)
        self.records.append(record)
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in self.records[self._written :]]
        try:
            append_lines(self.folder / RECORDS, "".join(lines))
        except UnavailableError as error:
            self.full = error
        else:
            self._written, self.full = len(self.records), None

    def new_values(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """The metrics that are not recorded yet for this step: an epoch that is trained again after a crash is not
        recorded again."""
        return {name: value for name, value in values.items() if (name, step) not in self._steps}

    def keep(self, name: str) -> Path:
        """A place for a file of this name that will be an artifact; one that is kept again gets a place of its own."""
        folder = self.folder / FILES / f"{len(self.records):05d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def settle(self, *, done: bool) -> None:
        """From now on records are delivered that have no room on the disk. A training that is not done is left without
        its metrics among them: it records them again when it goes on."""
        if not done:
            self.records[self._written :] = [
                record for record in self.records[self._written :] if record["call"] != "metrics"
            ]
        self._settled = True

    @property
    def ready(self) -> int:
        """How many records may be delivered."""
        return len(self.records) if self._settled else self._written

    @property
    def waiting(self) -> int:
        """How many of those MLflow does not have yet."""
        return self.ready - (self.delivered.records if self.delivered else 0)

    def note(self, delivered: Delivered) -> None:
        """Writes down what MLflow has. Where there is no room for that, more is delivered again after a crash."""
        self.delivered = delivered
        with suppress(UnavailableError):
            write_json(self.folder / DELIVERED, {**asdict(delivered), "records": min(delivered.records, self._written)})

    def _remember(self, record: Mapping[str, Any]) -> None:
        arguments = record["arguments"]
        if record["call"] == "metrics":
            self._steps |= {(name, arguments["step"]) for name in arguments["values"]}
        elif record["call"] == "params":
            self.params |= arguments["values"]

    def _whole_records(self) -> list[dict[str, Any]]:
        """The records of the file. A process that was killed while it wrote leaves half a line, which is cut off."""
        path = self.folder / RECORDS
        if not path.is_file():
            return []
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with path.open("r+b") as stream:
                stream.truncate(len(whole))
        return [json.loads(line) for line in whole.decode("utf-8").split("\n")[:-1]]
