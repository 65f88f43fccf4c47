"""The versions of the registry and their rollout tags; nothing else about a version is written.

rollout.state      rolling | serving | refused | superseded
rollout.reason     why, as a sentence
rollout.at         time of the last change, UTC, ISO 8601
rollout.evidence   fingerprint of the facts that a refusal was based on; when they change, the version is tried again
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
    """The operations on the registry that the reconciler needs."""

    def desired(self) -> VersionInfo | None:
        """The version under the alias."""

    def marked(self) -> list[VersionInfo]:
        """Versions that are serving or rolling according to their tags, the latest `rollout.at` first."""

    def mark(self, version: VersionInfo, state: State, reason: str) -> None:
        """Writes the tags if they change."""


def evidence_of(version: VersionInfo) -> str:
    """Fingerprint of everything a refusal can be based on: the version's own tags and the location of its files."""
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
        """Versions that are serving or rolling according to their tags, the latest first. Raises UnavailableError."""
        versions = versions_of(self.model_name, tracking_uri=self.tracking_uri)
        active = [version for version in versions if version.tags.get(STATE) in ("serving", "rolling")]
        return sorted(active, key=lambda version: version.tags.get(AT, ""), reverse=True)

    def mark(self, version: VersionInfo, state: State, reason: str) -> None:
        """Writes state, reason and time, unless they are unchanged. Raises UnavailableError."""
        tags = {REASON: reason[:MAX_REASON_CHARACTERS], EVIDENCE: evidence_of(version), STATE: state}
        if all(version.tags.get(name) == value for name, value in tags.items()):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        # The state comes last: when it can be read, so can the reason.
        set_tags(version.name, version.version, {AT: now, **tags}, tracking_uri=self.tracking_uri)
