"""From the model registry to a verified folder on this machine.

The cache is content-addressed: `<cache>/<bundle_sha256>/` is complete and verified or not there at all, so any number
of replicas may share it and a damaged download is never seen. Only data is fetched: the bundle, not what lies beside
it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import BundleError, UnavailableError
from components.registry.bundle import verify_files

# Where in the model's artifacts the bundle lies.
BUNDLE_PATH = "data/bundle"
BUNDLE_TAG = "mer.bundle_sha256"
MISSING = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@dataclass(frozen=True, kw_only=True)
class VersionInfo:
    """One version of a registered model."""

    name: str
    version: str
    tags: Mapping[str, str]
    source: str

    @property
    def bundle_sha256(self) -> str | None:
        """The bundle the version says it is."""
        return self.tags.get(BUNDLE_TAG)


def resolve(name: str, alias: str, *, tracking_uri: str) -> VersionInfo | None:
    """The version that an alias names, or None when the model or the alias is not there.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    return _ask(tracking_uri, name, lambda client: client.get_model_version_by_alias(name, alias))


def version_info(name: str, version: str, *, tracking_uri: str) -> VersionInfo | None:
    """One version by its number, or None when it is not there. Raises UnavailableError as `resolve`."""
    return _ask(tracking_uri, name, lambda client: client.get_model_version(name, version))


def _ask(tracking_uri: str, name: str, question: Callable[[Any], Any]) -> VersionInfo | None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        found = question(MlflowClient(tracking_uri))
    except MlflowException as error:
        if error.error_code in MISSING:
            return None
        raise _unavailable(tracking_uri, error) from error
    except OSError as error:
        raise _unavailable(tracking_uri, error) from error
    return VersionInfo(name=name, version=str(found.version), tags=dict(found.tags), source=str(found.source))


def fetch_bundle(name: str, version: str, *, tracking_uri: str, cache_dir: Path) -> Path:
    """The verified bundle folder of a version, downloaded once.

    Args:
        name, version: of the registered model.
        tracking_uri: of MLflow.
        cache_dir: where bundles are kept, by hash.

    Returns:
        `cache_dir / <bundle_sha256>`.

    Raises:
        BundleError: there is no such version, it carries no bundle, the bundle is damaged, or it is another than the
            one the version's tag names.
        UnavailableError: MLflow or its artifact store cannot be reached.
    """
    info = version_info(name, version, tracking_uri=tracking_uri)
    if info is None:
        raise BundleError("there is no such version", where=f"{name} version {version}")
    wanted = info.bundle_sha256
    if wanted is None:
        raise BundleError(
            "the version says nothing of its bundle", where=f"{name} version {version}", seen=f"no tag {BUNDLE_TAG}"
        )
    if cached := _cached(cache_dir, wanted):
        return cached
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (
        _alone_in(cache_dir),
        tempfile.TemporaryDirectory(dir=cache_dir, prefix=".fetch-") as scratch,
    ):
        if cached := _cached(cache_dir, wanted):  # another process was faster
            return cached
        folder = _download(name, version, tracking_uri, Path(scratch))
        seen, _ = verify_files(folder)
        if seen != wanted:
            raise BundleError(
                "the version holds another bundle than its tag names",
                where=f"{name} version {version}",
                seen=seen,
                allowed=wanted,
            )
        target = cache_dir / wanted
        if target.exists():
            os.replace(target, Path(scratch) / "damaged")
        os.replace(folder, target)
    return target


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other process or thread is inside this block for the folder; the lock falls with its holder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _cached(cache_dir: Path, sha256: str) -> Path | None:
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise BundleError("this is no SHA-256", where=BUNDLE_TAG, seen=sha256)
    folder = cache_dir / sha256
    if not folder.is_dir():
        return None
    try:
        seen, _ = verify_files(folder)
    except BundleError:
        return None
    return folder if seen == sha256 else None


def _download(name: str, version: str, tracking_uri: str, scratch: Path) -> Path:
    import mlflow.artifacts
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        root = MlflowClient(tracking_uri).get_model_version_download_uri(name, version)
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{root.rstrip('/')}/{BUNDLE_PATH}", dst_path=str(scratch), tracking_uri=tracking_uri
        )
    except (MlflowException, OSError, ConnectionError) as error:
        raise UnavailableError(
            "cannot download the bundle", where=f"{name} version {version}", seen=str(error).splitlines()[0]
        ) from error
    folder = Path(path)
    if scratch.resolve() not in folder.resolve().parents:
        # A local artifact store hands out its own folder; work on a copy, never on the registry's files.
        copied = scratch / "bundle"
        shutil.copytree(folder, copied, symlinks=True)
        return copied
    return folder


def _unavailable(tracking_uri: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        "cannot reach MLflow",
        where=tracking_uri,
        seen=str(error).splitlines()[0] if str(error) else type(error).__name__,
        remedy="`make serve` starts it, or set MLFLOW_TRACKING_URI.",
    )
