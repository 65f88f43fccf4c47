"""The lineage of a model: git commit, dirty flag, hashes of the lock and of the parameters."""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from components.contracts.fingerprint import file_sha256

UNKNOWN = "unknown"
# Kinds of people in a dataset: those in recordings, and those that were drawn and synthesised.
RECORDED, RENDERED = "recorded", "rendered"
# The tag of a run and a version: the bundle whose weights the training started from.
STARTED_TAG = "mer.started_from"


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a model came from. `data_sha256` is the catalog's hash, `datasets` each dataset's own."""

    git_commit: str
    git_dirty: bool
    dvc_lock_sha256: str
    params_sha256: str
    data_sha256: str
    datasets: dict[str, str]
    seed: int

    def tags(self) -> dict[str, str]:
        """As MLflow tags: flat names under `lineage.`, string values."""
        fields = asdict(self)
        datasets = fields.pop("datasets")
        tags = {f"lineage.{name}": str(value) for name, value in fields.items()}
        tags.update({f"lineage.dataset.{name}": value for name, value in sorted(datasets.items())})
        return tags


def collect(root: Path, *, data_sha256: str, datasets: dict[str, str], seed: int) -> Lineage:
    """Reads the lineage of the project at `root`; a value that cannot be read is "unknown", never invented.

    A changed `dvc.lock` does not count as dirty: a run writes it as it goes, and what it names is in `dvc_lock_sha256`.
    """
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock")
    return Lineage(
        git_commit=commit_of(root),
        git_dirty=bool(status),
        dvc_lock_sha256=_hash(root / "dvc.lock"),
        params_sha256=_hash(root / "params.yaml"),
        data_sha256=data_sha256,
        datasets=dict(datasets),
        seed=seed,
    )


def commit_of(root: Path) -> str:
    """The commit that is checked out."""
    return _git(root, "rev-parse", "HEAD") or UNKNOWN


def changed_files(root: Path) -> tuple[str, ...]:
    """Files under Git that differ from the commit, relative to `root`, without `dvc.lock`."""
    listed = _git(root, "diff", "HEAD", "--name-only", "--relative", "-z", "--", ".", ":(exclude)dvc.lock")
    return tuple(sorted(name for name in (listed or "").split("\0") if name))


def _hash(path: Path) -> str:
    return file_sha256(path) if path.is_file() else UNKNOWN


def _git(root: Path, *arguments: str) -> str | None:
    try:
        completed = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return completed.stdout.strip()
