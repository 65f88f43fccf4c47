"""Outputs of stages from and to the project's DVC remote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.contracts.errors import ConfigError, UnavailableError

# A folder that several tasks may share as DVC's cache, a volume for example: what is in it is not fetched again.
CACHE_VARIABLE = "MER_DVC_CACHE"
NAME_REMOTE = "`dvc remote default NAME` names the remote that all machines use; commit .dvc/config"
PUSH = "`dvc push` where they were made puts them into the remote that this project names"


def use_shared_cache(root: Path) -> None:
    """Makes DVC use the folder of `MER_DVC_CACHE`, if it is set, in this clone alone."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        with _local_settings(root) as settings:
            settings.setdefault("cache", {})["dir"] = folder


def use_storage_of(project: Path, clone: Path) -> None:
    """Makes DVC in a clone use the cache and the remotes of the project on this machine, which may be settings that no
    commit has."""
    from dvc.repo import Repo

    repo = Repo(str(project))
    try:
        cache, core = repo.cache.local_cache_dir, repo.config["core"]
        remotes = {name: dict(remote) for name, remote in repo.config["remote"].items()}
    finally:
        repo.close()
    with _local_settings(clone) as settings:
        settings.setdefault("cache", {})["dir"] = cache
        settings.update({f'remote "{name}"': remote for name, remote in remotes.items()})
        if core.get("remote"):
            settings.setdefault("core", {})["remote"] = core["remote"]


@contextmanager
def _local_settings(root: Path) -> Iterator[dict[str, Any]]:
    """DVC's settings of this clone alone, section → key → value, to be changed. DVC reads them as UTF-8, but writes no
    letters beyond ASCII, which a folder's name may have."""
    from configobj import ConfigObj

    settings = ConfigObj(str(root / ".dvc" / "config.local"), encoding="utf-8")
    yield settings
    settings.write()


def bring(root: Path, addresses: Sequence[str]) -> None:
    """Brings the outputs of stages from the cache, and from the remote where the cache lacks some.

    Raises:
        UnavailableError: neither has them all.
    """
    from dvc.exceptions import CheckoutError

    with _repo(root, "bring the data", remedy=PUSH) as repo:
        try:
            repo.checkout(targets=_outputs(repo, addresses), force=True)
        except CheckoutError:
            repo.pull(targets=_outputs(repo, addresses), force=True)


def pull(root: Path, addresses: Sequence[str], *, optional: bool = False) -> None:
    """Brings the outputs of stages, as `dvc.lock` names them.

    Args:
        root: the project.
        addresses: of the stages; one that is not in the lock is passed over.
        optional: do without what the remote lacks.

    Raises:
        UnavailableError: there is no remote, it does not answer, or lacks an output.
    """
    if addresses:
        with _repo(root, "pull the inputs") as repo:
            repo.pull(targets=_outputs(repo, addresses), allow_missing=optional)


def push(root: Path, addresses: Sequence[str]) -> None:
    """Stores the outputs of stages. Raises UnavailableError as `pull`."""
    with _repo(root, "push the outputs") as repo:
        repo.push(targets=_outputs(repo, addresses))


def _outputs(repo: Any, addresses: Sequence[str]) -> list[str]:
    """The paths of stages' outputs. DVC would look stages' names up in the current folder, and takes an `@` anywhere in
    `FOLDER/dvc.yaml:NAME` for the item of a stage.

    Raises ConfigError: there is no such stage; without a target DVC would take all of them.
    """
    outputs = {stage.name: [out.fs_path for out in stage.outs] for stage in repo.index.stages if hasattr(stage, "name")}
    for address in addresses:
        if address not in outputs:
            raise ConfigError.unknown("stage", address, list(outputs), where="dvc.yaml")
    return [path for address in addresses for path in outputs[address]]


@contextmanager
def _repo(root: Path, what: str, *, remedy: str = NAME_REMOTE) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    repo = Repo(str(root))
    try:
        yield repo
    except DvcException as error:
        remote = repo.config["core"].get("remote")
        raise UnavailableError(
            f"DVC cannot {what}",
            where=f"remote {remote}" if remote else str(root / ".dvc" / "config"),
            seen=str(error),
            remedy=remedy,
        ) from error
    finally:
        repo.close()
