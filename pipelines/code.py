"""One code: that a task runs the code of the commit it names, compared by hash before anything runs.

An image holds a copy of the code and a workspace is a checkout of its own. Where the two differ, one would compute and
the other's commit would be recorded, so a mismatch is refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from components.contracts.errors import ConfigError
from components.contracts.fingerprint import file_sha256

PACKAGES = ("components", "pipelines")  # what stages run
SAME = "same"


def running_code() -> Path:
    """The folder from which this process imported the project's packages."""
    return Path(__file__).resolve().parents[1]


def code_sha256(folder: Path) -> str:
    """One hash over the names and contents of all files of the packages in a folder; takes a tenth of a second."""
    text = "".join(f"{sha256} {name}\n" for name, sha256 in sorted(_hashes(folder).items()))
    return hashlib.sha256(text.encode()).hexdigest()


def check_code(root: Path, expected: str = SAME, *, running: Path | None = None) -> None:
    """Compares the code that runs with that of the project, and both with the hash that a task names.

    Args:
        root: the project. One without code of its own, only a configuration, passes.
        expected: the hash, or `same` for any hash as long as the two agree.
        running: the folder of the running code; by default that of this process.

    Raises:
        ConfigError: they differ; it names the first file that does.
    """
    running = running or running_code()
    here, there = _hashes(running), _hashes(root)
    if there and here != there:
        name = min(key for key in {*here, *there} if here.get(key) != there.get(key))
        raise ConfigError(
            "the code that runs is not that of the project",
            where=f"{running} and {root}: {name}",
            seen=f"{code_sha256(running)[:12]} runs, the project has {code_sha256(root)[:12]}",
            remedy="Build the image from the project's commit, or check out the image's commit in the project",
        )
    if expected != SAME and code_sha256(running) != expected:
        raise ConfigError(
            "the code is not that of the pipeline",
            where=str(root),
            seen=code_sha256(running)[:12],
            allowed=expected[:12],
            remedy="Upload the pipeline of this commit: `mer schedule apply`, or start it anew with `mer kfp run`",
        )


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for package in PACKAGES for path in (folder / package).rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in files}
    return {
        name.as_posix(): file_sha256(path)
        for name, path in names.items()
        if not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }
