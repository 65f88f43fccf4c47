"""A version's commit, configuration and data in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from components.contracts.atomic import atomic_dir, atomic_file
from components.contracts.errors import BundleError, ConfigError, UnavailableError
from components.contracts.layout import Layout
from components.tracking.origin import Origin
from pipelines import dag
from pipelines.code import PACKAGES
from pipelines.loop import storage
from pipelines.loop.clone import FILE as LOCK
from pipelines.loop.clone import Clone
from pipelines.loop.lock import stages_of
from pipelines.stages import STAGES

# What runs in the checkout.
TRAIN, EVALUATE = "train", "evaluate"
RUN_ID = "reproduce"
ASIDE = ".old"
FILES_SHOWN = 5


def check(origin: Origin, root: Path, *, where: str) -> None:
    """Whether the training can be done again from what was recorded and from the repository around `root`.

    Raises:
        BundleError: it ran code that no commit has.
        UnavailableError: the repository does not have the commit.
    """
    code = [name for name in origin.changed if name.partition("/")[0] in PACKAGES]
    if code:
        more = f" and {len(code) - FILES_SHOWN} more" if code[FILES_SHOWN:] else ""
        raise BundleError(
            "the version was trained by code that no commit has",
            where=where,
            seen=f"commit {origin.commit[:12]}, with changes to {', '.join(code[:FILES_SHOWN])}{more}",
            remedy="Its code cannot be had any more. Commit before `mer run`, so that later versions can be reproduced",
        )
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{origin.commit}^{{commit}}"], cwd=root, capture_output=True, check=False
    )
    if known.returncode != 0:
        raise UnavailableError(
            "the repository does not have the commit that the version was trained from",
            where=where,
            seen=origin.commit,
            remedy="`git fetch --all`, or run this in a clone of the repository in which the version was trained",
        )


def check_out(origin: Origin, root: Path, folder: Path) -> Path:
    """The project at the version's commit below `folder`, with its configuration; one that is there is kept, so that a
    training in it goes on.

    Args:
        origin: what was recorded; `check` has passed.
        root: the project, in whose Git repository the commit is.
        folder: of the checkout.

    Returns:
        the checkout's project folder: `folder`, or as far below it as the project is below its repository.
    """
    top, below = _git(root, "rev-parse", "--show-toplevel"), _git(root, "rev-parse", "--show-prefix")
    if not folder.is_dir():
        with atomic_dir(folder) as beside:
            Clone.make(top, beside, run_id=RUN_ID, commit=origin.commit)
    project = folder / below
    for path, text in ((Layout(project).params, origin.params), (project / LOCK, origin.dvc_lock)):
        with atomic_file(path) as beside:
            beside.write_text(text, encoding="utf-8")
    return project


def discard(folder: Path) -> None:
    """Removes a checkout; an interrupt leaves it whole, or nothing that `check_out` would take for one."""
    aside = folder.with_name(f".{folder.name}{ASIDE}")
    os.replace(folder, aside)
    shutil.rmtree(aside)


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes were making or removing among the checkouts of a folder."""
    for left in folder.glob(".*"):
        shutil.rmtree(left)


def bring_data(origin: Origin, root: Path, project: Path) -> None:
    """Brings what training and evaluation read, from the cache of the project at `root` or from its remote.

    Raises:
        UnavailableError: neither has it.
    """
    storage.use_storage_of(root, project)
    locked = stages_of(origin.dvc_lock)
    nodes = {node.address: node for node in dag.read(project)}
    reads = {stage for name in (TRAIN, EVALUATE) for stage in STAGES[name].reads}
    needed = {address for name in (TRAIN, EVALUATE) for address in nodes[name].upstream}
    needed |= {address for address, node in nodes.items() if node.stage in reads}
    storage.bring(project, sorted(address for address in needed - {TRAIN} if address in locked))


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(
            "the project is not in a Git repository",
            where=str(root),
            seen=done.stderr.strip(),
            remedy="Run this in a clone of the repository in which the version was trained",
        )
    return done.stdout.strip()
