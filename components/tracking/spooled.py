"""The run of a training, which MLflow may miss for a while: at the start, in the middle and at the end.

    with open_run(tracking, root, inputs_sha256=…, name=…, folder=…) as run:
        run.metrics({"loss": 0.5}, step=0)  # is on disk when this returns, and soon in MLflow

Records go to a spool on disk (`spool.py`); a thread delivers them in order. While MLflow is away, or has no room, the
thread tries again every few seconds and the training goes on; so it does while the spool has none. At the end the rest
is delivered with MLflow's own patience (four minutes); when that fails, the block raises, the spool stays, and opening
the run again delivers it.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.contracts.codes import Code
from components.contracts.config import Tracking
from components.contracts.errors import UnavailableError
from components.tracking.client import Client, client_of, impatience
from components.tracking.errors import NotInMlflowError
from components.tracking.names import flatten
from components.tracking.runs import FINISHED, INPUTS_TAG, NOTE_TAG, Run, ending, experiment_id, newest
from components.tracking.spool import Delivered, Spool

SPOOL_TAG = "mer.spool"
# A parameter cannot change in MLflow; where a resumed training has a different value, it is this tag with its name.
RESUMED = "resumed."
# Stands for the address of the run's artifacts in its page, which is known when the run is opened.
THIS_RUN = "#/this-run/artifacts/"
RETRY_S = 5.0
ACTIVE = "active"  # of a run that nobody deleted


class SpooledRun:
    """The methods of `Run` that write, for a store that may be away. Made by `open_run`."""

    def __init__(self, spool: Spool, tracking: Tracking, root: Path) -> None:
        self._spool, self._tracking, self._root = spool, tracking, root
        self._run: Run | None = None
        self._changed = threading.Condition()
        self._ending = False
        self._away: UnavailableError | None = None
        self._refused: Exception | None = None
        self._thread = threading.Thread(target=self._deliver_on, name="mlflow-delivery", daemon=True)

    @property
    def run_id(self) -> str | None:
        """The run's id in MLflow, or None before it was opened there."""
        return self._spool.delivered.run_id if self._spool.delivered else None

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters under dotted names."""
        flat = flatten(values, separator=".")
        known = self._spool.params
        new = {name: value for name, value in flat.items() if name not in known}
        if new:
            self._record("params", values=new)
        changed = {f"{RESUMED}{name}": str(flat[name]) for name in flat.keys() & known if flat[name] != known[name]}
        if changed:
            self.tags(changed)

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags."""
        self._record("tags", values=dict(values))

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Metrics of one step; those that are recorded already are left out."""
        if new := self._spool.new_values(values, step):
            self._record("metrics", values=new, step=step)

    def dataset(self, name: str, *, sha256: str, uri: str, profile: Mapping[str, Any], context: str) -> None:
        """A dataset as an input of the run."""
        self._record("dataset", name=name, sha256=sha256, uri=uri, profile=dict(profile), context=context)

    def figure(self, figure: Any, name: str) -> None:
        """A matplotlib figure as a picture."""
        kept = self._spool.keep(name.rpartition("/")[2])
        figure.savefig(kept)
        self._record_file(kept, name.rpartition("/")[0] or None)

    def file(self, path: Path, *, to: str | None = None) -> None:
        """A file as an artifact, in a folder of the run."""
        self._record_file(Path(shutil.copyfile(path, self._spool.keep(path.name))), to)

    def text(self, text: str, name: str) -> None:
        """A text as an artifact."""
        kept = self._spool.keep(name.rpartition("/")[2])
        kept.write_text(text, encoding="utf-8")
        self._record_file(kept, name.rpartition("/")[0] or None)

    def describe(self, markdown: str) -> None:
        """The run's description in the UI."""
        self.tags({NOTE_TAG: markdown})

    def link(self, artifact: str) -> str:
        """Where the UI shows an artifact; for the run's own tags and description."""
        return f"{THIS_RUN}{artifact}"

    def _record_file(self, kept: Path, to: str | None) -> None:
        self._record("file", path=kept.relative_to(self._spool.folder).as_posix(), to=to)

    def _record(self, call: str, **arguments: Any) -> None:
        with self._changed:
            before = self._spool.full
            self._spool.append(call, int(time.time() * 1000), **arguments)
            self._changed.notify()
        if (full := self._spool.full) is not None and before is None:
            print(f"train: records for MLflow wait in memory until there is room: {full}", file=sys.stderr)
        elif full is None and before is not None:
            print(f"train: there is room again in {self._spool.folder}", file=sys.stderr)

    def _begin(self, *, inputs_sha256: str, name: str) -> None:
        """Raises what no waiting would change, such as an address that is not one."""
        tags = {INPUTS_TAG: inputs_sha256, SPOOL_TAG: self._spool.name}
        self._record("open", tags=tags, run_name=name)
        with impatience():
            self._try()
        if self._refused:
            raise self._refused
        self._thread.start()

    def _end(self, status: str, *, patient: bool) -> None:
        """Raises what keeps the records from MLflow."""
        self._record("end", status=status)
        with self._changed:
            self._spool.settle(done=patient)
            self._ending = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        if patient and self._spool.waiting and not self._refused:
            self._try()
        if self._refused:
            raise self._refused
        if self._away:
            away = self._away
            raise UnavailableError(
                f"the training is done, but {self._spool.waiting} records wait for MLflow: {away.what}",
                where=away.where,
                seen=away.seen,
                remedy="When it is back, `mer run` delivers them and goes on, without training again.",
                code=away.code,
            ) from away

    def _deliver_on(self) -> None:
        with impatience():
            while not self._refused:
                with self._changed:
                    if self._away and not self._ending:
                        self._changed.wait_for(lambda: self._ending, timeout=RETRY_S)
                    else:
                        self._changed.wait_for(lambda: self._ending or self._spool.waiting)
                    last = self._ending
                self._try()
                if last:
                    return

    def _try(self) -> None:
        """Delivers what waits; says once that MLflow is away, or its disk full, and once that it is back."""
        before = self._spool.waiting
        try:
            self._deliver()
        except UnavailableError as error:
            if not self._away:
                state = "has no room" if error.code == Code.NO_ROOM else "is away"
                print(f"train: MLflow {state}, its records wait in {self._spool.folder}: {error}", file=sys.stderr)
            self._away, self._run = error, None
        except Exception as error:  # raised in the calling thread
            self._refused = error
        else:
            if self._away:
                print(f"train: MLflow is back, {before} records delivered", file=sys.stderr)
            self._away = None

    def _deliver(self) -> None:
        self._run = run = self._run or self._opened()
        delivered = self._spool.delivered
        assert delivered is not None
        while delivered.records < self._spool.ready:
            record = self._spool.records[delivered.records]
            DELIVER[record["call"]](run, self._spool, record)
            delivered = Delivered(uri=delivered.uri, run_id=delivered.run_id, records=delivered.records + 1)
            self._spool.note(delivered)

    def _opened(self) -> Run:
        """The run in the configured store. Where that has none (it was not opened yet, it was deleted, a different
        store is configured by now), it is made, and all records go to it."""
        client = client_of(self._tracking, self._root)
        delivered = self._spool.delivered
        if delivered is not None and delivered.uri == client.uri:
            with suppress(NotInMlflowError):
                if client.get_run(delivered.run_id).info.lifecycle_stage == ACTIVE:
                    return Run(client, delivered.run_id)
        run_id = self._open(client, self._spool.records[0])
        self._spool.note(Delivered(uri=client.uri, run_id=run_id, records=0))
        return Run(client, run_id)

    def _open(self, client: Client, record: Mapping[str, Any]) -> str:
        experiment = experiment_id(client, self._tracking, self._root)
        made = newest(client, experiment, SPOOL_TAG, self._spool.name)
        if made is not None:
            return made
        arguments = record["arguments"]
        run = client.create_run(
            experiment, start_time=record["at_ms"], tags=arguments["tags"], run_name=arguments["run_name"]
        )
        return str(run.info.run_id)


@contextmanager
def open_run(tracking: Tracking, root: Path, *, inputs_sha256: str, name: str, folder: Path) -> Iterator[SpooledRun]:
    """Opens the run of a training; it ends FINISHED, FAILED on an error, KILLED when it was stopped by hand.

    Args:
        tracking, root: the store.
        inputs_sha256: what is trained.
        name: shown in the list of runs.
        folder: of the spool; a run whose spool is there goes on.

    Raises:
        ConfigError: the address is not one.
        UnavailableError: (at the end) the block is done and MLflow does not have all records; the spool stays.
    """
    run = SpooledRun(Spool(folder), tracking, root)
    run._begin(inputs_sha256=inputs_sha256, name=name)
    # Only a training that is done waits for MLflow.
    with ending(run.tags, lambda status: run._end(status, patient=status == FINISHED)):
        yield run


def _open_again(run: Run, _: Spool, record: Mapping[str, Any]) -> None:
    run.client.update_run(run.run_id, status="RUNNING")


def _tags(run: Run, _: Spool, record: Mapping[str, Any]) -> None:
    values = record["arguments"]["values"]
    here = run.link("") if any(THIS_RUN in value for value in values.values()) else THIS_RUN
    run.tags({name: value.replace(THIS_RUN, here) for name, value in values.items()})


def _file(run: Run, spool: Spool, record: Mapping[str, Any]) -> None:
    run.file(spool.folder / record["arguments"]["path"], to=record["arguments"]["to"])


def _end(run: Run, _: Spool, record: Mapping[str, Any]) -> None:
    run.client.set_terminated(run.run_id, status=record["arguments"]["status"], end_time=record["at_ms"])


# The call of a record → how it is delivered.
DELIVER: Mapping[str, Callable[[Run, Spool, Mapping[str, Any]], None]] = {
    "open": _open_again,
    "params": lambda run, _, record: run.params(record["arguments"]["values"]),
    "tags": _tags,
    "metrics": lambda run, _, record: run.metrics(**record["arguments"], at_ms=record["at_ms"]),
    "dataset": lambda run, _, record: run.dataset(**record["arguments"]),
    "file": _file,
    "end": _end,
}
