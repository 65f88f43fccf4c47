"""Versions of the registry, as commands find and load them."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from components.contracts.config import Params
from components.contracts.errors import BundleError
from components.contracts.layout import Layout
from components.tracking.versions import VersionInfo, resolve, version_info

if TYPE_CHECKING:
    from components.registry.bundle import Bundle


def find_version(params: Params, version: str, uri: str) -> VersionInfo:
    """The version of a number or an alias. Raises BundleError."""
    name = params.registry.model_name
    info = (
        version_info(name, version, tracking_uri=uri) if version.isdigit() else resolve(name, version, tracking_uri=uri)
    )
    if info is None:
        raise BundleError(
            "there is no such version",
            where=f"model {name}",
            seen=version,
            allowed="a version number, or an alias",
            remedy="`mer serve` shows the versions in the MLflow UI.",
        )
    return info


def load_verified(params: Params, layout: Layout, info: VersionInfo, uri: str) -> Bundle:
    """The bundle of a version that is authentic. Raises BundleError and UnavailableError as `load_version`."""
    from components.registry.keys import TrustedKeys
    from components.registry.proof import PROOF_TAG
    from components.serving.assignment import VersionRef
    from components.serving.service import load_version

    if info.bundle_sha256 is None:
        raise BundleError("the version does not name its bundle", where=f"{info.name} version {info.version}")
    reference = VersionRef(
        model_name=info.name,
        version=info.version,
        bundle_sha256=info.bundle_sha256,
        tracking_uri=uri,
        proof=info.tags.get(PROOF_TAG, ""),
    )
    keys = TrustedKeys.of(params.rollout.trusted_keys, layout.signing)
    return load_version(reference, layout.state / "bundles", keys.keyring())


def user() -> str:
    """Who runs this command: the user of MLflow's basic authentication, else that of this machine."""
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        return f"user {os.getuid()}"
