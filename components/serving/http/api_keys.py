"""API keys: what each may do, in a file that holds their hashes alone.

A key is 256 random bits, so that a plain SHA-256 hides it as well as a slow password hash would. The file is read again
when it changes: a new key counts, and a revoked one ends, with the next request.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from limits import RateLimitItem, parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from components.contracts.atomic import write_json
from components.contracts.config import section_error
from components.contracts.errors import ConfigError

FILE_VARIABLE = "MER_API_KEYS_FILE"
BEGINNING = "mer_"  # by which programs that look for secrets in texts find a key
OWNER_ONLY = 0o600


class Scope(StrEnum):
    """What a key is for: predictions, or also what the service counts."""

    PREDICT = "predict"
    ADMIN = "admin"


class ApiKey(BaseModel):
    """One key.

    Attributes:
        id: names it in logs; not secret.
        name: whom it was made for.
        sha256: of the whole key.
        scopes: what it is for.
        rate: the most requests, such as `60/minute`; None: any number.
        at_once: the most requests at a time; None: any number.
        created_at: in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    rate: str | None = None
    at_once: int | None = Field(None, ge=1)
    created_at: str

    @field_validator("rate")
    @classmethod
    def _readable(cls, rate: str | None) -> str | None:
        if rate is not None:
            parse(rate)
        return rate

    @property
    def limit(self) -> RateLimitItem | None:
        """Its rate as `limits` counts it."""
        return None if self.rate is None else parse(self.rate)


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[ApiKey, ...] = ()


class KeyFile:
    """The keys of a service.

    Args:
        path: their file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], Mapping[str, ApiKey]] | None = None

    @classmethod
    def of(cls, default: Path) -> KeyFile:
        """That of the environment, else one of a project."""
        return cls(Path(os.environ.get(FILE_VARIABLE) or default))

    def listed(self) -> list[ApiKey]:
        """All of them, in the order in which they were made. Raises ConfigError: the file is not one of keys."""
        return list(self._by_hash().values())

    def find(self, key: str) -> ApiKey | None:
        """What is known of a key; None of one that was never made, or was revoked. Raises as `listed`."""
        return self._by_hash().get(_hash(key))

    def create(
        self, name: str, *, scopes: Sequence[Scope], rate: str | None = None, at_once: int | None = None
    ) -> tuple[ApiKey, str]:
        """Makes a key; returns it as it is kept, and the key itself, which nothing keeps.

        Raises:
            ConfigError: there is one of this name already, or a value is wrong.
        """
        keys = self.listed()
        if any(key.name == name for key in keys):
            raise ConfigError(
                "there is a key of this name", where=str(self.path), seen=name, remedy=f"mer keys revoke {name}"
            )
        secret = BEGINNING + secrets.token_urlsafe(32)
        fields = {
            "id": secrets.token_hex(4),
            "name": name,
            "sha256": _hash(secret),
            "scopes": tuple(scopes),
            "rate": rate,
            "at_once": at_once,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            key = ApiKey.model_validate(fields)
        except ValidationError as error:
            raise section_error(error, ApiKey, where="mer keys create") from error
        self._write([*keys, key])
        return key, secret

    def revoke(self, name: str) -> ApiKey:
        """Ends the key of a name or an id. Raises ConfigError: there is none."""
        keys = self.listed()
        for key in keys:
            if name in (key.name, key.id):
                self._write([other for other in keys if other is not key])
                return key
        raise ConfigError.unknown("key", name, [key.name for key in keys], where=str(self.path))

    def _write(self, keys: Sequence[ApiKey]) -> None:
        write_json(self.path, _Content(keys=tuple(keys)).model_dump(mode="json"))
        self.path.chmod(OWNER_ONLY)
        self._read = None

    def _by_hash(self) -> Mapping[str, ApiKey]:
        if not self.path.is_file():
            return {}
        status = self.path.stat()
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, {key.sha256: key for key in self._content().keys})
        return self._read[1]

    def _content(self) -> _Content:
        try:
            return _Content.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(
                "the file of API keys cannot be read",
                where=str(self.path),
                seen=error.strerror if isinstance(error, OSError) else "not what `mer keys` writes",
                remedy="Make the keys again with `mer keys create`.",
            ) from error


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
