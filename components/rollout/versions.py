"""The versions of the registry and their rollout tags, the only thing written to them.

rollout.state      rolling | serving | refused | superseded
rollout.reason     why, in words
rollout.at         time of the last change, UTC, ISO 8601
rollout.evidence   fingerprint of what a refusal was based on; when that changes, the version is tried again
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from components.contracts.fingerprint import fingerprint
from components.tracking.versions import VersionInfo, resolve, set_tags, versions_of

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
    """Whether the version was refused and is unchanged since. Deleting `rollout.state` makes it eligible again."""
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
        versions = versions_of(self.model_name, tracking_uri=self.tracking_uri)
        found = [version for version in versions if version.tags.get(STATE) in ("serving", "rolling")]
        return sorted(found, key=lambda version: version.tags.get(AT, ""), reverse=True)

    def mark(self, version: VersionInfo, state: State, reason: str) -> None:
        """Writes state, reason and time, unless they are unchanged. Raises UnavailableError."""
        tags = {REASON: reason[:MAX_REASON_CHARACTERS], EVIDENCE: evidence_of(version), STATE: state}
        if all(version.tags.get(name) == value for name, value in tags.items()):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        # The state stays last: a reader that sees it finds the reason beside it.
        set_tags(version.name, version.version, {AT: now, **tags}, tracking_uri=self.tracking_uri)
