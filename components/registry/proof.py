"""Who vouches for a version: a statement about its bundle, signed with Ed25519 (RFC 8032) by whoever registered it.

The statement names the bundle by its hash, so it holds for these bytes wherever they lie, and for a copy of the version
under the name of a different model. Tags, aliases and artifacts in MLflow can be written by everyone who reaches it; a
signature cannot. Everything here is pure: where keys come from is in `keys.py`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from components.contracts.codes import Code
from components.contracts.errors import BundleError, ConfigError
from components.contracts.fingerprint import canonical_json
from components.contracts.lineage import Lineage

PROOF_TAG = "mer.proof"
ALGORITHM = "ed25519"
# Keeps a signature over a statement from being one over anything else.
DOMAIN = b"mer version statement 1\n"
# `signed_by` of the stage that makes bundles.
STAGE = "register"
MAX_PROOF_CHARACTERS = 20_000
SIGN = "Review the version, then `mer sign {version}` where the signing key is."


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What is signed.

    Attributes:
        bundle_sha256: the hash of `bundle.json`, which covers every file that affects an answer.
        gates: gate → its verdict.
        git_commit, data_sha256: the code and the catalog that it was made from.
        signed_by: `register` (the stage that made the bundle), or the person who reviewed it.
        accepted_by: the person who is responsible for serving it although a gate did not pass; empty as a rule.
    """

    bundle_sha256: str
    gates: Mapping[str, str]
    git_commit: str
    data_sha256: str
    signed_by: str
    accepted_by: str = ""

    def message(self) -> bytes:
        """The bytes that are signed."""
        return DOMAIN + canonical_json(asdict(self)).encode()

    @classmethod
    def from_json(cls, value: Any) -> Statement:
        """From the value of `asdict`. Raises TypeError or ValueError when it is not one."""
        if not isinstance(value, dict) or value.keys() != {field.name for field in fields(cls)}:
            raise ValueError("not a statement")
        texts = {name: text for name, text in value.items() if name != "gates"}
        if not all(isinstance(text, str) for text in (*texts.values(), *value["gates"], *value["gates"].values())):
            raise ValueError("a field of the statement is not text")
        return cls(**texts, gates=dict(value["gates"]))


def statement_of(
    bundle_sha256: str,
    gates: Sequence[Mapping[str, Any]],
    lineage: Lineage,
    *,
    signed_by: str,
    accepted_by: str = "",
) -> Statement:
    """The statement about a bundle; `gates` as in its description."""
    return Statement(
        bundle_sha256=bundle_sha256,
        gates={str(gate["name"]): _verdict(gate) for gate in gates},
        git_commit=lineage.git_commit,
        data_sha256=lineage.data_sha256,
        signed_by=signed_by,
        accepted_by=accepted_by,
    )


def _verdict(gate: Mapping[str, Any]) -> str:
    return str(gate.get("verdict") or ("passed" if gate["passed"] else "failed"))


class SigningKey:
    """An Ed25519 private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the system's random numbers."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes, *, where: str) -> SigningKey:
        """From PKCS #8 in PEM, without a password. Raises ConfigError."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise ConfigError(
                "not a private key", where=where, allowed="an Ed25519 key as PEM: `openssl genpkey -algorithm ed25519`"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError("not an Ed25519 key", where=where, seen=type(key).__name__)
        return cls(key)

    def to_pem(self) -> bytes:
        """As PKCS #8 in PEM, without a password."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public(self) -> str:
        """The public key as text: `ed25519:` and 32 bytes in base64."""
        return f"{ALGORITHM}:{_encoded(self._key.public_key().public_bytes_raw())}"

    def sign(self, statement: Statement) -> str:
        """The proof, for the tag `mer.proof`: the statement, the public key and the signature as JSON."""
        signature = _encoded(self._key.sign(statement.message()))
        return canonical_json({"statement": asdict(statement), "key": self.public, "signature": signature})


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """The public keys whose signatures count."""

    trusted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key in self.trusted:
            public_key(key)

    def verify(self, proof: str, *, bundle_sha256: str, where: str) -> Statement:
        """The statement of a proof, after every check.

        Raises:
            BundleError: the proof is damaged or of a different bundle (`bad-signature`), or of a key that is not
                trusted (`untrusted-key`).
        """
        statement, key, signature = _read(proof, where)
        if key not in self.trusted:
            raise BundleError(
                "the version was signed with a key that is not trusted here",
                where=where,
                seen=key,
                allowed=", ".join(self.trusted) or "no key: this service has none",
                remedy=f"If the key is yours, add it to `rollout.trusted_keys`. {SIGN.format(version='VERSION')}",
                code=Code.UNTRUSTED_KEY,
            )
        try:
            public_key(key).verify(signature, statement.message())
        except InvalidSignature as error:
            raise _damaged(where, "a signature of a different statement") from error
        if statement.bundle_sha256 != bundle_sha256:
            raise BundleError(
                "the version's proof is of a different bundle",
                where=where,
                seen=bundle_sha256,
                allowed=statement.bundle_sha256,
                remedy="Somebody changed the version after it was signed. Compare its files with a backup.",
                code=Code.BAD_SIGNATURE,
            )
        return statement


def public_key(text: str) -> Ed25519PublicKey:
    """From `ed25519:` and base64. Raises ConfigError."""
    try:
        algorithm, _, encoded = text.partition(":")
        if algorithm != ALGORITHM:
            raise ValueError(algorithm)
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ConfigError(
            "not a public key",
            where="rollout.trusted_keys",
            seen=text,
            allowed=f"{ALGORITHM}:… as `mer sign --public-key` prints it",
        ) from error


def key_of(proof: str) -> str | None:
    """The key that a proof names, whether or not its signature holds; None where it names none."""
    try:
        return _read(proof, "")[1]
    except BundleError:
        return None


def _read(proof: str, where: str) -> tuple[Statement, str, bytes]:
    try:
        if len(proof) > MAX_PROOF_CHARACTERS:
            raise ValueError("too long")
        value = json.loads(proof)
        signature = base64.b64decode(value["signature"], validate=True)
        return Statement.from_json(value["statement"]), str(value["key"]), signature
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise _damaged(where, "not a proof") from error


def _damaged(where: str, seen: str) -> BundleError:
    return BundleError(
        "the version's signature does not hold",
        where=where,
        seen=seen,
        remedy=f"Somebody changed the tag `{PROOF_TAG}`. {SIGN.format(version='VERSION')}",
        code=Code.BAD_SIGNATURE,
    )


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
