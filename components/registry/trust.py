"""Whether a version is what somebody vouched for: asked before its bundle is fetched, and again by every replica.

A version is taken for one of three reasons:

    signed    its proof holds, and its key is trusted
    shipped   its bundle is the starter of this code or of an earlier release: its hash is part of the code
    kept      it has no proof, but this machine has its bundle already. Nothing unsigned enters the folder of bundles
              any more, so it was registered or served here before versions were signed

The third is for the update of an installation: whoever reaches MLflow alone cannot put a bundle into that folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from components.contracts.bundle_files import verify_files
from components.contracts.codes import Code
from components.contracts.errors import BundleError
from components.registry.bundle import Bundle
from components.registry.proof import PROOF_TAG, SIGN, Keyring, Statement

# The starters of all releases, by their hashes; the last is that in the folder `starter`.
SHIPPED = (
    "21d8837278d66c03b9c4a182c7a3b8d29efe596345daea7fb48389df9cd55d18",
    "410591f61a0eb8239daa51e89b74bd0c42408cc9632c3cad87175a97262447da",
    "1bd1dd11a983fff036e82d55717cfdf81e19a8720a9ad9deff1de1e67f66c4db",
)

Ground = Literal["signed", "shipped", "kept"]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Why a version is taken for authentic, and the signed statement if there is one."""

    ground: Ground
    statement: Statement | None = None

    def applied_to(self, bundle: Bundle) -> Bundle:
        """The bundle with the commit and data of the statement: its hash does not cover `lineage.json`."""
        if self.statement is None:
            return bundle
        signed = self.statement
        return replace(
            bundle, lineage=replace(bundle.lineage, git_commit=signed.git_commit, data_sha256=signed.data_sha256)
        )


def check_authentic(proof: str, *, bundle_sha256: str, keyring: Keyring, cache: Path, where: str) -> Trust:
    """Why this bundle may be used as the version's.

    Args:
        proof: the version's tag `mer.proof`; empty without one.
        bundle_sha256: of the version.
        keyring: the trusted keys.
        cache: the folder of bundles, by hash.
        where: the version, for messages.

    Raises:
        BundleError: the proof does not hold (`bad-signature`, `untrusted-key`), or there is none (`unsigned`).
    """
    if bundle_sha256 in SHIPPED:
        return Trust(ground="shipped")
    if proof:
        statement = keyring.verify(proof, bundle_sha256=bundle_sha256, where=where)
        return Trust(ground="signed", statement=statement)
    if _is_kept(cache / bundle_sha256, bundle_sha256):
        return Trust(ground="kept")
    raise BundleError(
        "the version is not signed",
        where=where,
        seen=f"no tag {PROOF_TAG}",
        remedy=SIGN.format(version=where.rpartition(" ")[2]),
        code=Code.UNSIGNED,
    )


def check_gates(bundle: Bundle, trust: Trust) -> None:
    """Raises BundleError (`gates`) where the gates in the bundle, which its hash covers, did not all pass, and nobody
    signed that it is served all the same."""
    if trust.statement is not None and trust.statement.accepted_by:
        return
    gates = bundle.description.gates
    failed = [str(gate.get("name")) for gate in gates if gate.get("passed") is not True]
    if failed or not gates:
        raise BundleError(
            "the gates in the bundle did not pass",
            where=bundle.folder.name[:12],
            seen=", ".join(failed) or "no gate",
            remedy="Promote a version that passed its gates, or sign who is responsible: `mer sign --accept-gates`.",
            code=Code.GATES,
        )


def _is_kept(folder: Path, bundle_sha256: str) -> bool:
    if not folder.is_dir():
        return False
    try:
        return verify_files(folder)[0] == bundle_sha256
    except BundleError:
        return False
