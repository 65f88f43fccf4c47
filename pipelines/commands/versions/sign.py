"""`mer sign`: vouches for a registered version after a look at what is in it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from components.registry.keys import TrustedKeys, signing_key
from components.registry.proof import PROOF_TAG, statement_of
from components.registry.trust import SHIPPED
from components.tracking.client import impatient, without_progress_bars
from components.tracking.versions import VersionInfo, set_tags
from pipelines.commands.table import table
from pipelines.commands.versions.verified import find_version, user
from pipelines.project import find_root, load


def print_public_key() -> None:
    """Prints the public key of this project or environment, and makes the key where there is none."""
    print(signing_key(Layout(find_root()).signing).public)


def run(version: str, *, yes: bool = False, accept_gates: bool = False) -> None:
    """Shows a version, asks, and signs it.

    Args:
        version: its number, or an alias.
        yes: whether the person has looked already.
        accept_gates: whether the person takes responsibility for serving it although a gate did not pass.

    Raises:
        BundleError: there is no such version, its files are damaged, or its golden examples do not hold.
        ConfigError: the key cannot be used, or nobody can be asked.
        UnavailableError: MLflow cannot be reached.
    """
    from components.tracking.address import tracking_uri

    without_progress_bars()
    impatient()
    root = find_root()
    params, layout = load(root), Layout(root)
    uri = tracking_uri(params.tracking, root)
    info = find_version(params, version, uri)
    if info.bundle_sha256 in SHIPPED:
        print(f"Version {info.version} is the starter: its hash is part of the code, so it needs no signature.")
        return
    key = signing_key(layout.signing)
    from components.registry.bundle import load_bundle
    from components.registry.fetch import fetch_bundle

    # Not the folder of bundles of this machine: what is there counts as seen before.
    with tempfile.TemporaryDirectory(prefix="mer-sign-") as scratch:
        folder = fetch_bundle(info.name, info.version, tracking_uri=uri, cache_dir=Path(scratch))
        bundle = load_bundle(folder)
        bundle.check_goldens(params.rollout.golden_tolerance)
        description, lineage = bundle.description, bundle.lineage
    known = (layout.state / "bundles" / bundle.sha256).is_dir()
    _show(info, description.gates, {
        "bundle": f"{bundle.sha256[:16]}…" + (", also in this project's .mer/bundles" if known else ""),
        "classes": ", ".join(bundle.classes),
        "modalities": ", ".join(bundle.spec.names),
        "corpora": ", ".join(f"{name} ({kind})" for name, kind in description.corpora.items()) or "not recorded",
        "commit": lineage.git_commit,
        "data": lineage.data_sha256,
        "signed before": "yes" if PROOF_TAG in info.tags else "no",
    })  # fmt: skip
    _ask(info, yes)
    name = user()
    accepted = {} if not accept_gates else {"gates.accepted_by": name, "gates.passed": "true"}
    statement = statement_of(
        bundle.sha256, description.gates, lineage, signed_by=name, accepted_by=name if accept_gates else ""
    )
    set_tags(info.name, info.version, {PROOF_TAG: key.sign(statement), **accepted}, tracking_uri=uri)
    print(f"Signed {info.name} version {info.version} with {key.public}.")
    if key.public not in TrustedKeys.of(params.rollout.trusted_keys, layout.signing).keyring().trusted:
        print("This key is not among rollout.trusted_keys: add it, or the version is not served.", file=sys.stderr)


def _show(info: VersionInfo, gates: Any, facts: Mapping[str, str]) -> None:
    print(f"{info.name} version {info.version}")
    for name, text in facts.items():
        print(f"  {name:<14} {text}")
    rows = [(str(gate["name"]), "passed" if gate["passed"] else "failed", str(gate["words"])) for gate in gates]
    print(table(("gate", "verdict", "evidence"), rows))


def _ask(info: VersionInfo, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            "nobody can be asked whether to sign the version",
            where=f"{info.name} version {info.version}",
            remedy="Look at it first, then add --yes.",
        )
    if input("Sign it? [y/N] ").strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt
