"""The DAG of `dvc.yaml` as DVC itself resolves it: `foreach` expanded, parameters filled in, edges from outs to deps.

Everything that needs the graph (the KFP pipeline, `mer describe`, `mer run`'s plan) reads it here, so there is no
second parser of `dvc.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import ConfigError
from pipelines.stages import STAGES

# Always runs, so its status does not show whether there is work: see pipelines/inputs.py.
(ALWAYS,) = (stage.name for stage in STAGES.values() if stage.whole)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One stage of the resolved DAG.

    Attributes:
        address: the stage's name in `dvc.yaml`, `train` or `features@ravdess`.
        command: what DVC runs.
        description: one line of text, `desc` in `dvc.yaml`.
        deps, outs: paths relative to the project's root.
        params: file → keys that the stage depends on.
        upstream: addresses of the stages whose outs it reads, sorted.
    """

    address: str
    command: str
    description: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: Mapping[str, tuple[str, ...]]
    upstream: tuple[str, ...]

    @property
    def stage(self) -> str:
        """The name before `@`."""
        return self.address.partition("@")[0]

    @property
    def item(self) -> str | None:
        """The dataset of a `foreach` stage."""
        return self.address.partition("@")[2] or None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One way in which a stage differs from its record in `dvc.lock`.

    Attributes:
        address: the stage's.
        path: of an input or output; empty where the command differs.
        key: of a file of parameters.
        state: DVC's word: modified, deleted, new, or what it says of the whole stage.
        is_output: whether it is one of its outputs.
    """

    address: str
    path: str
    state: str
    key: str | None = None
    is_output: bool = False


def read(root: Path) -> tuple[Node, ...]:
    """The stages of a project in an order in which they can run (ties broken by the order in `dvc.yaml`).

    Raises:
        ConfigError: `dvc.yaml` cannot be resolved.
    """
    repo = _repo(root)
    from dvc.exceptions import DvcException

    try:
        graph = repo.index.graph
        nodes = {
            _name(stage.addressing): _node(stage, graph) for stage in repo.index.stages if not stage.is_data_source
        }
    except DvcException as error:
        raise ConfigError("the pipeline cannot be resolved", where="dvc.yaml", seen=str(error)) from error
    finally:
        repo.close()
    return _ordered(nodes)


def changed(root: Path) -> dict[str, list[str]]:
    """The stages that `dvc repro` would run for their own reasons (not because of an earlier stage), with the reasons.

    The stage that always runs is left out. Takes well under a second for unchanged files: DVC caches their hashes.
    """
    return {name: _reasons(entries) for name, entries in _status(root).items()}


def differences(root: Path) -> tuple[Difference, ...]:
    """The same in parts, for code to read."""
    return tuple(part for name, entries in _status(root).items() for part in _parts(name, entries))


def _status(root: Path) -> dict[str, Sequence[object]]:
    repo = _repo(root)
    from dvc.exceptions import DvcException

    try:
        status = repo.status()
    except DvcException as error:
        raise ConfigError("DVC cannot determine what changed", where=str(root), seen=str(error)) from error
    finally:
        repo.close()
    named = {_name(address): entries for address, entries in status.items()}
    return {name: entries for name, entries in named.items() if name != ALWAYS}


def storage(root: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The folder of DVC's cache and the names of its remotes; (None, ()) where the project is not under DVC."""
    try:
        repo = _repo(root)
    except ConfigError:
        return None, ()
    try:
        return Path(repo.cache.local.path), tuple(sorted(repo.config["remote"]))
    finally:
        repo.close()


def with_downstream(nodes: Iterable[Node], names: Iterable[str]) -> tuple[str, ...]:
    """The named stages and everything that follows from them, in running order."""
    touched = set(names)
    for node in nodes:  # running order: upstream comes first
        if touched & set(node.upstream):
            touched.add(node.address)
    return tuple(node.address for node in nodes if node.address in touched)


def with_upstream(nodes: Iterable[Node], names: Iterable[str]) -> tuple[str, ...]:
    """The named stages and everything they need, in running order."""
    ordered = tuple(nodes)
    needed = set(names)
    for node in reversed(ordered):
        if node.address in needed:
            needed.update(node.upstream)
    return tuple(node.address for node in ordered if node.address in needed)


def resolve(nodes: Iterable[Node], name: str) -> tuple[str, ...]:
    """The addresses of a name: one stage, or all items of a `foreach`. Raises ConfigError: no stage has that name."""
    ordered = tuple(nodes)
    addresses = tuple(node.address for node in ordered if name in (node.address, node.stage))
    if not addresses:
        names = list(dict.fromkeys([*(node.stage for node in ordered), *(node.address for node in ordered)]))
        raise ConfigError.unknown("stage", name, names, where="dvc.yaml")
    return addresses


def _repo(root: Path):  # type: ignore[no-untyped-def]
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        return Repo(str(root))
    except DvcException as error:
        raise ConfigError(
            "this folder is not under DVC", where=str(root), seen=str(error), remedy="Run `dvc init` there"
        ) from error


def _name(address: str) -> str:
    """A stage's name without the path of `dvc.yaml`, which DVC prepends when called from a different folder."""
    return address.rpartition(":")[2]


def _node(stage, graph) -> Node:  # type: ignore[no-untyped-def]
    from dvc.dependency import ParamsDependency

    params = {dep.def_path: tuple(sorted(dep.params)) for dep in stage.deps if isinstance(dep, ParamsDependency)}
    return Node(
        address=_name(stage.addressing),
        command=stage.cmd,
        description=stage.desc or "",
        deps=tuple(sorted(dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency))),
        outs=tuple(sorted(out.def_path for out in stage.outs)),
        params=dict(sorted(params.items())),
        upstream=tuple(sorted(_name(other.addressing) for other in graph.successors(stage))),
    )


def _ordered(nodes: Mapping[str, Node]) -> tuple[Node, ...]:
    ordered: dict[str, Node] = {}
    while len(ordered) < len(nodes):
        ready = [node for node in nodes.values() if node.address not in ordered and set(node.upstream) <= set(ordered)]
        ordered.update({node.address: node for node in ready})
    return tuple(ordered.values())


def _reasons(entries: Iterable[object]) -> list[str]:
    """DVC's status entries, e.g. `{"changed deps": {"data/catalog": "modified"}}`, as words."""
    words: list[str] = []
    for entry in entries:
        if not isinstance(entry, dict):
            words.append(str(entry))
            continue
        for kind, paths in entry.items():
            words += [f"{path} {_how(state)}" for path, state in paths.items()] if isinstance(paths, dict) else [kind]
    return words


def _parts(address: str, entries: Iterable[object]) -> Iterator[Difference]:
    for entry in entries:
        if not isinstance(entry, dict):
            yield Difference(address=address, path="", state=str(entry))
            continue
        for kind, paths in entry.items():
            if not isinstance(paths, dict):
                yield Difference(address=address, path="", state=str(kind))
                continue
            for path, state in paths.items():
                keys: Mapping[str | None, object] = state if isinstance(state, dict) else {None: state}
                for key, how in keys.items():
                    is_output = kind == "changed outs"
                    yield Difference(address=address, path=path, key=key, state=str(how), is_output=is_output)


def _how(state: object) -> str:
    if isinstance(state, dict):  # parameters: {key: "modified"}
        return ", ".join(f"{key} {how}" for key, how in state.items())
    return str(state)
