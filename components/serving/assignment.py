"""What the replicas are told to serve: a version, and beside it a challenger on trial.

It is the content of `user_config` of the Serve deployment; no Ray here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.contracts.config import section_error
from components.contracts.fingerprint import fingerprint


class VersionRef(BaseModel):
    """Identifies one version.

    `proof` is the version's tag `mer.proof`, so that a replica can check it while MLflow is away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str
    version: str
    bundle_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    tracking_uri: str
    proof: str = ""

    @classmethod
    def of(cls, user_config: Mapping[str, Any]) -> Self:
        """From a `user_config`. Raises ConfigError on a misspelt or missing key."""
        try:
            return cls.model_validate(dict(user_config))
        except ValidationError as error:
            raise section_error(error, cls, where="user_config") from error


class Trial(BaseModel):
    """A challenger that judges what the version in service has judged, and answers a share of the requests itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    challenger: VersionRef
    share: float = Field(0.0, ge=0, le=1)


class Assignment(VersionRef):
    """The version that answers, and the trial beside it, if there is one."""

    trial: Trial | None = None

    @property
    def version_alone(self) -> VersionRef:
        """The version without the trial."""
        return VersionRef.model_validate(self.model_dump(exclude={"trial"}))

    @property
    def trial_id(self) -> str | None:
        """Names what is compared with what, whatever the share."""
        if self.trial is None:
            return None
        sides = [(side.model_name, side.version, side.bundle_sha256) for side in (self, self.trial.challenger)]
        return fingerprint(sides)[:16]

    def to_config(self) -> dict[str, Any]:
        """As a `user_config`."""
        return self.model_dump(exclude_none=True)
