"""Where the key that signs versions comes from, and the public keys that are trusted.

A cluster gives the private key as a file of a secret (`MER_SIGNING_KEY_FILE`) to the pods that register, and the public
keys to those that serve. On one machine a key is made at the first registration, in `.mer/signing`: beside the local
MLflow store, readable by its owner alone, and in nothing that Git or DVC tracks.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import ConfigError
from components.registry.proof import Keyring, SigningKey

KEY_FILE_VARIABLE = "MER_SIGNING_KEY_FILE"
TRUSTED_VARIABLE = "MER_TRUSTED_KEYS"
PRIVATE, PUBLIC = "private.pem", "public.txt"
OWNER_ONLY = 0o600


def signing_key(folder: Path) -> SigningKey:
    """The key to sign with: that of the environment, else the project's own, which is made where there is none.

    Args:
        folder: of the project's own key (`Layout.signing`).

    Raises:
        ConfigError: the file that the environment names cannot be read, or is not a key.
    """
    if named := os.environ.get(KEY_FILE_VARIABLE):
        return _from_file(Path(named), KEY_FILE_VARIABLE)
    private = folder / PRIVATE
    if not private.is_file():
        _make(folder)
    private.chmod(OWNER_ONLY)  # a copy of the project may have lost the mode
    return _from_file(private, str(private))


@dataclass(frozen=True, kw_only=True)
class TrustedKeys:
    """Where the trusted public keys are: `listed`, else the key that the project of `folder` signs with, which may be
    made while a service already runs."""

    listed: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def of(cls, configured: Sequence[str], folder: Path | None) -> TrustedKeys:
        """Those of the environment, else the configured ones, else the one that this project signs with.

        Args:
            configured: `rollout.trusted_keys`.
            folder: of the project's own key; None where there is no project.

        Raises:
            ConfigError: the file that the environment names cannot be read, or is not a key.
        """
        listed = tuple(os.environ.get(TRUSTED_VARIABLE, "").replace(",", " ").split()) or tuple(configured)
        if not listed and (named := os.environ.get(KEY_FILE_VARIABLE)):
            listed = (_from_file(Path(named), KEY_FILE_VARIABLE).public,)
        return cls(listed=listed, folder=folder)

    def keyring(self) -> Keyring:
        """The keys at this moment. Raises ConfigError: one of them is not a key."""
        own = self.folder / PUBLIC if self.folder else None
        if self.listed or own is None or not own.is_file():
            return Keyring(trusted=self.listed)
        return Keyring(trusted=(own.read_text(encoding="ascii").strip(),))


def _from_file(path: Path, where: str) -> SigningKey:
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError("the signing key cannot be read", where=where, seen=f"{path}: {error.strerror}") from error
    return SigningKey.from_pem(pem, where=where)


def _make(folder: Path) -> None:
    """Writes a new key unless another process was faster."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / ".gitignore").write_text("*\n", encoding="ascii")  # also in a project whose own list lacks `.mer`
    key = SigningKey.generate()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".key-") as fresh:  # made with mode 0600
        fresh.write(key.to_pem())
        fresh.flush()
        try:
            os.link(fresh.name, folder / PRIVATE)
        except FileExistsError:
            key = _from_file(folder / PRIVATE, str(folder / PRIVATE))
    (folder / PUBLIC).write_text(f"{key.public}\n", encoding="ascii")
