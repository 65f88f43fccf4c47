"""Outputs of stages from and to the project's DVC remote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.contracts.errors import UnavailableError

# A folder that several tasks may share as DVC's cache, a volume for example: what is in it is not fetched again.
CACHE_VARIABLE = "MER_DVC_CACHE"


def use_shared_cache(root: Path) -> None:
    """Makes DVC use the folder of `MER_DVC_CACHE`, if it is set, in this clone alone."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        from dvc.config import Config

        with Config(str(root / ".dvc")).edit("local") as settings:
            settings.setdefault("cache", {})["dir"] = folder


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
            repo.pull(targets=_targets(root, addresses), allow_missing=optional)


def push(root: Path, addresses: Sequence[str]) -> None:
    """Stores the outputs of stages. Raises UnavailableError as `pull`."""
    with _repo(root, "push the outputs") as repo:
        repo.push(targets=_targets(root, addresses))


def _targets(root: Path, addresses: Sequence[str]) -> list[str]:
    """Stages by the file that has them: DVC looks names alone up in the current folder."""
    return [f"{root / 'dvc.yaml'}:{address}" for address in addresses]


@contextmanager
def _repo(root: Path, what: str) -> Iterator[Any]:
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
            remedy="`dvc remote default NAME` names the remote that all machines use; commit .dvc/config",
        ) from error
    finally:
        repo.close()
