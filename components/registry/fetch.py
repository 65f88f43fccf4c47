"""Downloads the bundle of a registered version into a verified folder on this machine.

The cache is content-addressed: `<cache>/<bundle_sha256>/` is either complete and verified or does not exist, so any
number of replicas can share it and a damaged download is never used. Only the bundle is fetched, not the files beside
it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from components.contracts.bundle_files import verify_files
from components.contracts.errors import BundleError, MerError, UnavailableError
from components.runtime.alone import alone_in
from components.tracking.packaging import BUNDLE_PATH
from components.tracking.versions import BUNDLE_TAG, download, version_info


def fetch_bundle(name: str, version: str, *, tracking_uri: str, cache_dir: Path) -> Path:
    """The verified bundle folder of a version, downloaded once.

    Args:
        name, version: of the registered model.
        tracking_uri: of MLflow.
        cache_dir: the folder of bundles, by hash.

    Returns:
        `cache_dir / <bundle_sha256>`.

    Raises:
        BundleError: there is no such version, it has no bundle, the bundle is damaged, or its hash differs from the
            version's tag.
        UnavailableError: MLflow or its artifact store cannot be reached.
    """
    info = version_info(name, version, tracking_uri=tracking_uri)
    if info is None:
        raise BundleError("there is no such version", where=f"{name} version {version}")
    tagged_sha256 = info.bundle_sha256
    if tagged_sha256 is None:
        raise BundleError(
            "the version does not name its bundle", where=f"{name} version {version}", seen=f"no tag {BUNDLE_TAG}"
        )
    if cached := _cached(cache_dir, tagged_sha256):
        return cached
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (
        alone_in(cache_dir),
        tempfile.TemporaryDirectory(dir=cache_dir, prefix=".fetch-") as scratch,
    ):
        if cached := _cached(cache_dir, tagged_sha256):  # another process was faster
            return cached
        folder = _download(name, version, tracking_uri, Path(scratch))
        sha256, _ = verify_files(folder)
        if sha256 != tagged_sha256:
            raise BundleError(
                "the version's bundle is not the one that its tag names",
                where=f"{name} version {version}",
                seen=sha256,
                allowed=tagged_sha256,
            )
        target = cache_dir / tagged_sha256
        if target.exists():
            os.replace(target, Path(scratch) / "damaged")
        os.replace(folder, target)
    return target


def _cached(cache_dir: Path, sha256: str) -> Path | None:
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise BundleError("not a SHA-256", where=BUNDLE_TAG, seen=sha256)
    folder = cache_dir / sha256
    if not folder.is_dir():
        return None
    try:
        present_sha256, _ = verify_files(folder)
    except BundleError:
        return None
    return folder if present_sha256 == sha256 else None


def _download(name: str, version: str, tracking_uri: str, scratch: Path) -> Path:
    try:
        folder = download(name, version, BUNDLE_PATH, into=scratch, tracking_uri=tracking_uri)
    except MerError as error:
        # This covers a file missing from the store: once it is restored, the version can be used again.
        raise UnavailableError(
            "cannot download the bundle", where=f"{name} version {version}", seen=error.seen
        ) from error
    if scratch.resolve() not in folder.resolve().parents:
        # A local artifact store returns its own folder: continue with a copy, never with the registry's files.
        copied = scratch / "bundle"
        shutil.copytree(folder, copied, symlinks=True)
        return copied
    return folder
