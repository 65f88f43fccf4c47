"""`mer schedule`: reads the file and the pipeline of a project, and calls `recurring` with a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from components.contracts.errors import ConfigError
from pipelines import dag
from pipelines.commands.versions.verified import user
from pipelines.kubeflow import generate, recurring, schedules
from pipelines.kubeflow.place import PIPELINE, Place
from pipelines.kubeflow.schedules import Schedule, Schedules
from pipelines.kubeflow.server import Server, answering, connect
from pipelines.kubeflow.task import asked
from pipelines.project import find_root

BY_HAND = "run-now"


def printed(file: Path | None) -> str:
    """The recurring runs of the file. Asks no server."""
    return schedules.describe(_file(file))


def list_runs(server: Server, file: Path | None) -> str:
    """The server's recurring runs."""
    desired = _file(file)
    with answering(server):
        return recurring.listing(_place(server), desired)


def diff(server: Server, file: Path | None) -> str:
    """What `apply` would do; changes nothing on the server."""
    desired, package = _file(file), _package()
    with answering(server):
        return recurring.diff(_place(server), desired, package)


def apply(server: Server, file: Path | None) -> str:
    """Makes the server's recurring runs equal the file."""
    desired, package = _file(file), _package()
    with answering(server):
        return recurring.apply(_place(server), desired, package)


def switch(server: Server, file: Path | None, name: str, *, on: bool) -> str:
    """Resumes or pauses one recurring run."""
    desired = _file(file)
    with answering(server):
        return recurring.switch(_place(server), desired, name, on=on)


def run_now(
    server: Server,
    file: Path | None,
    name: str | None,
    *,
    stages: Sequence[str],
    datasets: Sequence[str],
    settings: Sequence[str],
) -> str:
    """Starts a run; what is given here goes before what the schedule of that name says."""
    desired, package = _file(file), _package()
    base = (
        schedules.named(desired, name)
        if name is not None
        else Schedule(name=f"{desired.prefix}{BY_HAND}", cron="0 0 0 * * *")  # the cron is not used
    )
    given = {"stages": tuple(stages), "datasets": tuple(datasets), "settings": tuple(settings)}
    schedule = Schedule(**{**base.model_dump(), **{key: value for key, value in given.items() if value}})
    with answering(server):
        return recurring.run_now(_place(server), desired, schedule, package, asked(user()))


def selected(nodes: Sequence[dag.Node], stages: Sequence[str], datasets: Sequence[str]) -> tuple[str, ...]:
    """The addresses that a run is limited to; empty when it is not.

    Args:
        nodes: the DAG.
        stages: names or addresses; those that they need belong to the run too, as with `mer run --stage`.
        datasets: of the stages that run once per dataset, only those of these; without `stages` no others run.

    Raises:
        ConfigError: there is no such stage or dataset, or nothing is left.
    """
    items = sorted({node.item for node in nodes if node.item is not None})
    for name in datasets:
        if name not in items:
            raise ConfigError.unknown("dataset", name, items, where="dvc.yaml")
    if not stages and not datasets:
        return ()
    names = [address for name in stages for address in dag.resolve(nodes, name)]
    scope = set(dag.with_upstream(nodes, names)) if stages else {node.address for node in nodes if node.item}
    chosen = tuple(
        node.address
        for node in nodes
        if node.address in scope and (not datasets or node.item is None or node.item in datasets)
    )
    if not chosen:
        raise ConfigError("no stage is left", where="--stage, --dataset", seen=" ".join([*stages, *datasets]))
    return chosen


def _file(file: Path | None) -> Schedules:
    return schedules.read(file or find_root() / schedules.FILE)


def _place(server: Server) -> Place:
    return Place(client=connect(server), namespace=server.namespace, service_account=server.service_account)


def _package() -> recurring.Package:
    root = find_root()
    path = root / ".mer" / "kfp" / f"{PIPELINE}.yaml"
    generate.compile_to(path, root)
    nodes = dag.read(root)

    def parameters(schedule: Schedule) -> dict[str, str]:
        only = selected(nodes, schedule.stages, schedule.datasets)
        return {"only": " ".join(only), "assignments": json.dumps(list(schedule.settings))}

    return recurring.Package(path=path, parameters=parameters)
