"""A clone of the project for one task, and what the tasks of a run leave for each other in the remote repository.

That is one ref per task, `refs/mer/<run>/<name>`: outside of branches and tags, so that nobody's list of branches grows
and no build starts. Each is a commit of its own with one file, so two tasks never wait for each other nor overwrite
anything. When the run's branch is pushed they are deleted.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import UnavailableError

REFS = "refs/mer"
BASE = "base"
FILE = "dvc.lock"
IDENTITY = {"NAME": "mer", "EMAIL": "mer@localhost"}


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A clone and the run that it is for."""

    folder: Path
    run_id: str

    @classmethod
    def make(cls, repository: str, folder: Path, *, run_id: str, commit: str) -> Clone:
        """Clones a repository and checks a commit out, which may be one that the run made.

        Raises:
            UnavailableError: the repository or the commit cannot be had.
        """
        folder.mkdir(parents=True, exist_ok=True)
        clone = cls(folder=folder, run_id=run_id)
        clone.git("clone", "--quiet", "--no-checkout", repository, ".")
        clone.fetch()
        clone.git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit)
        return clone

    def fetch(self) -> None:
        """Gets what the run's tasks have left so far."""
        refs = f"{REFS}/{self.run_id}/*"
        self.git("fetch", "--quiet", "origin", f"+{refs}:{refs}")

    def parts(self) -> dict[str, str]:
        """Name → the text that a task left."""
        listed = self.git("for-each-ref", "--format=%(refname)", f"{REFS}/{self.run_id}/").split()
        names = [ref.rpartition("/")[2] for ref in listed]
        return {name: self.git("show", f"{self._ref(name)}:{FILE}") for name in names if name != BASE}

    def leave(self, name: str, text: str) -> None:
        """Leaves a text for the run's other tasks. An attempt that repeats it takes the place of the one before."""
        blob = self.git("hash-object", "-w", "--stdin", given=text).strip()
        tree = self.git("mktree", given=f"100644 blob {blob}\t{FILE}\n").strip()
        commit = self.git("commit-tree", tree, "-m", f"{name} of {self.run_id}").strip()
        self.git("push", "--quiet", "origin", f"+{commit}:{self._ref(name)}")

    def commit(self, paths: Sequence[str], message: str) -> str:
        """Commits files; returns the commit, that of before where nothing changed."""
        self.git("add", "--", *paths)
        if self.git("status", "--porcelain", "--untracked-files=no"):
            self.git("commit", "--quiet", "--no-verify", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def push_base(self) -> None:
        """Leaves the present commit for the run's other tasks."""
        self.git("push", "--quiet", "origin", f"+HEAD:{self._ref(BASE)}")

    def push(self, branch: str, options: Sequence[str] = ()) -> None:
        """Pushes the present commit to a branch, which is a new one or has the commit, and deletes what tasks left."""
        given = [word for option in options for word in ("--push-option", option)]
        self.git("push", "--quiet", *given, "origin", f"HEAD:refs/heads/{branch}")
        self.fetch()
        listed = self.git("for-each-ref", "--format=%(refname)", f"{REFS}/{self.run_id}/").split()
        if listed:
            self.git("push", "--quiet", "origin", *(f":{ref}" for ref in listed))

    @classmethod
    def forget(cls, repository: str, folder: Path, *, run_id: str) -> int:
        """Deletes what the tasks of a run left, without a clone; returns how much that was."""
        folder.mkdir(parents=True, exist_ok=True)
        clone = cls(folder=folder, run_id=run_id)
        clone.git("init", "--quiet")
        lines = clone.git("ls-remote", repository, f"{REFS}/{run_id}/*").splitlines()
        refs = [line.split("\t")[1] for line in lines]
        if refs:
            clone.git("push", "--quiet", repository, *(f":{ref}" for ref in refs))
        return len(refs)

    def git(self, *arguments: str, given: str | None = None) -> str:
        """Output of a git command in the clone. Raises UnavailableError with what git said."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **_identity(os.environ), "GIT_TERMINAL_PROMPT": "0"},
        )
        if done.returncode != 0:
            raise UnavailableError(
                "git did not do what the run needs",
                where=f"git {' '.join(arguments)}",
                seen=done.stderr.strip(),
                remedy="Check the repository's address, and that this user may read it and push to it",
            )
        return done.stdout

    def _ref(self, name: str) -> str:
        return f"{REFS}/{self.run_id}/{name}"


def _identity(environment: Mapping[str, str]) -> dict[str, str]:
    """Who commits, where the environment does not say; a pod has no ~/.gitconfig."""
    names = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()}
    return {name: environment.get(name, value) for name, value in names.items()}
