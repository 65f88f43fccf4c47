"""What the registry says of versions, and what is written back to them: tags, nothing else.

rollout.state      rolling | serving | refused | superseded
rollout.reason     why, in words
rollout.at         when it became so, UTC, ISO 8601
rollout.evidence   fingerprint of what a refusal was based on; when that changes, the version is tried again
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from components.contracts.errors import UnavailableError
from components.contracts.fingerprint import fingerprint
from components.registry.fetch import VersionInfo, resolve

State = Literal["rolling", "serving", "refused", "superseded"]
STATE, REASON, AT, EVIDENCE = "rollout.state", "rollout.reason", "rollout.at", "rollout.evidence"
PREFIX = "rollout."
MAX_REASON_CHARACTERS = 500


class Versions(Protocol):
    """The registry as the reconciler sees it."""

    def desired(self) -> VersionInfo | None:
        """The version under the alias."""

    def marked(self) -> list[VersionInfo]:
        """Versions that are serving or rolling by their tags, the latest `rollout.at` first."""

    def mark(self, version: VersionInfo, state: State, reason: str) -> None:
        """Writes the tags, when they change."""


def evidence_of(version: VersionInfo) -> str:
    """Fingerprint of everything a refusal can be based on: the version's own tags and where its files are."""
    own = {name: value for name, value in version.tags.items() if not name.startswith(PREFIX)}
    return fingerprint([own, version.source])


def stands_refused(version: VersionInfo) -> bool:
    """Whether the version was refused and nothing about it has changed since. Deleting `rollout.state` asks again."""
    return version.tags.get(STATE) == "refused" and version.tags.get(EVIDENCE) == evidence_of(version)


@dataclass(frozen=True, kw_only=True)
class MlflowVersions:
    """The registry in MLflow."""

    model_name: str
    alias: str
    tracking_uri: str

    def desired(self) -> VersionInfo | None:
        """The version under the alias, or None. Raises UnavailableError."""
        return resolve(self.model_name, self.alias, tracking_uri=self.tracking_uri)

    def marked(self) -> list[VersionInfo]:
        """Versions that are serving or rolling by their tags, the latest first. Raises UnavailableError."""
        from mlflow.exceptions import MlflowException

        try:
            pages = self._client().search_model_versions(f"name = '{self.model_name}'")
        except (MlflowException, OSError) as error:
            raise _unavailable(self.tracking_uri, error) from error
        versions = [
            VersionInfo(name=page.name, version=str(page.version), tags=dict(page.tags), source=str(page.source))
            for page in pages
        ]
        found = [version for version in versions if version.tags.get(STATE) in ("serving", "rolling")]
        return sorted(found, key=lambda version: version.tags.get(AT, ""), reverse=True)

    def mark(self, version: VersionInfo, state: State, reason: str) -> None:
        """Writes state, reason and time, unless state and reason stand there already. Raises UnavailableError."""
        from mlflow.exceptions import MlflowException

        reason = reason[:MAX_REASON_CHARACTERS]
        wanted = {STATE: state, REASON: reason, EVIDENCE: evidence_of(version)}
        if all(version.tags.get(name) == value for name, value in wanted.items()):
            return
        wanted[AT] = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            client = self._client()
            # The state last: whoever sees it finds the reason beside it.
            for name in (REASON, EVIDENCE, AT, STATE):
                client.set_model_version_tag(version.name, version.version, name, wanted[name])
        except (MlflowException, OSError) as error:
            raise _unavailable(self.tracking_uri, error) from error

    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri)


def _unavailable(tracking_uri: str, error: Exception) -> UnavailableError:
    text = str(error).splitlines()
    return UnavailableError("cannot reach MLflow", where=tracking_uri, seen=text[0] if text else type(error).__name__)
