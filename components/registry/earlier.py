"""The earlier versions that the configuration names, as files for the stages before this component.

`train.start_from` and `evaluate.compare_with` name a version in one of three ways: `starter`, the number of a version
in the registry, or the folder of a bundle. An alias is not allowed: what is trained must not depend on when it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from components.contracts.atomic import write_json
from components.contracts.bundle_files import DESCRIPTION, MODEL_FILES, verify_files
from components.contracts.config import Tracking
from components.contracts.errors import ConfigError
from components.contracts.layout import EARLIER, Layout
from components.registry import starter
from components.registry.keys import TrustedKeys
from components.registry.proof import PROOF_TAG
from components.registry.trust import check_authentic


def write_earlier(
    folder: Path,
    name: str | None,
    *,
    setting: str,
    optional: bool,
    model_name: str,
    tracking: Tracking,
    root: Path,
    cache: Path,
    trusted_keys: Sequence[str] = (),
) -> None:
    """Writes an earlier version as `components/training/earlier.py` reads it; of none, that there is none.

    Args:
        folder: where to.
        name: what `setting` says; None for none.
        setting: for errors.
        optional: whether an installation without a starter counts as none.
        model_name, tracking: of the registry.
        root: of the project, where a relative folder starts.
        cache: the folder of downloaded bundles.
        trusted_keys: `rollout.trusted_keys`.

    Raises:
        ConfigError: this installation has no starter, or there is no such version or folder.
        BundleError: the version is not authentic (`check_authentic`), the bundle was altered, or is not one of this
            format.
        UnavailableError: MLflow cannot be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if name is None or (optional and name == starter.NAME and not starter.is_there()):
        write_json(folder / EARLIER, None)
        return
    bundle = _bundle(
        name,
        setting=setting,
        model_name=model_name,
        tracking=tracking,
        root=root,
        cache=cache,
        keys=TrustedKeys.of(trusted_keys, Layout(root).signing),
    )
    sha256, _ = verify_files(bundle)
    for file in (DESCRIPTION, *MODEL_FILES):
        shutil.copyfile(bundle / file, folder / file)
    write_json(folder / EARLIER, {"name": name, "bundle_sha256": sha256})


def _bundle(
    name: str, *, setting: str, model_name: str, tracking: Tracking, root: Path, cache: Path, keys: TrustedKeys
) -> Path:
    if name == starter.NAME:
        if not starter.is_there():
            raise ConfigError(
                "this installation has no starter",
                where=setting,
                seen=str(starter.BUNDLE),
                remedy=f"Install mer with its folder `starter`, or set {setting}: null.",
            )
        return starter.BUNDLE
    if name.isdecimal():
        # MLflow is needed for this alone.
        from components.registry.fetch import fetch_bundle
        from components.tracking.address import tracking_uri
        from components.tracking.versions import version_info

        uri = tracking_uri(tracking, root)
        info = version_info(model_name, name, tracking_uri=uri)
        if info is not None and info.bundle_sha256 is not None:  # otherwise fetching says what is missing
            check_authentic(
                info.tags.get(PROOF_TAG, ""),
                bundle_sha256=info.bundle_sha256,
                keyring=keys.keyring(),
                cache=cache,
                where=f"{model_name} version {name}",
            )
        return fetch_bundle(model_name, name, tracking_uri=uri, cache_dir=cache)
    bundle = root / name
    if not (bundle / DESCRIPTION).is_file():
        raise ConfigError(
            "there is no such version",
            where=setting,
            seen=name,
            allowed=f"{starter.NAME}, the number of a registered version, or the folder of a bundle",
            remedy="An alias has to be written as the number it has now: what is trained must not change with it.",
        )
    return bundle
