"""The versions of the registry and their rollout tags; nothing else about a version is written.

rollout.state      rolling | serving | refused | superseded
rollout.reason     why, as a sentence
rollout.code       of a refusal: the error code (docs/codes.md)
rollout.at         time of the last change, UTC, ISO 8601
rollout.by         who moved the alias, as far as MLflow records it
rollout.of         the version that the tags are about; MLflow copies tags with a version, also these
rollout.evidence   fingerprint of the facts that a refusal was based on; when they change, the version is tried again
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Protocol

from components.contracts.codes import Code
from components.contracts.fingerprint import fingerprint
from components.tracking.versions import PROMOTED_BY, VersionInfo, remove_tag, resolve, set_tags, versions_of

State = Literal["rolling", "serving", "refused", "superseded"]
STATE, REASON, AT, EVIDENCE = "rollout.state", "rollout.reason", "rollout.at", "rollout.evidence"
CODE, BY, OF = "rollout.code", "rollout.by", "rollout.of"
BY_NOBODY = f"unknown: MLflow does not record who moves an alias, and the version has no tag {PROMOTED_BY}"
# The source of a version that was copied from one of a different model; other versions have a path or a logged model.
COPIED = re.compile(r"models:/[^/]+/\d+")
PREFIX = "rollout."
MAX_REASON_CHARACTERS = 500


class Versions(Protocol):
    """The operations on the registry that the reconciler needs."""

    def desired(self) -> VersionInfo | None:
        """The version under the alias."""

    def marked(self) -> list[VersionInfo]:
        """Versions that are serving or rolling according to their tags, the latest `rollout.at` first."""

    def mark(self, version: VersionInfo, state: State, reason: str, code: Code | None = None) -> None:
        """Writes the tags if they change."""

    def challenger(self) -> VersionInfo | None:
        """The version on trial, if there is to be one."""

    def note(self, version: VersionInfo, tags: Mapping[str, str]) -> None:
        """Writes tags of the rollout."""


def evidence_of(version: VersionInfo) -> str:
    """Fingerprint of everything a refusal can be based on: the version's own tags and the location of its files."""
    own = {name: value for name, value in version.tags.items() if not name.startswith(PREFIX)}
    return fingerprint([own, version.source])


def stands_refused(version: VersionInfo) -> bool:
    """Whether the version was refused and is unchanged since. Deleting `rollout.state` makes it eligible again."""
    return version.tags.get(STATE) == "refused" and version.tags.get(EVIDENCE) == evidence_of(version)


def eligible_again(version: VersionInfo) -> VersionInfo:
    """The version without its refusal."""
    return replace(version, tags={name: value for name, value in version.tags.items() if name != STATE})


def with_own_marks(version: VersionInfo) -> VersionInfo:
    """The version without rollout tags that were copied with it from a different version."""
    marked = version.tags.get(OF)
    copied = COPIED.fullmatch(version.source) is not None if marked is None else marked != name_of(version)
    if not copied:
        return version
    return replace(version, tags={name: value for name, value in version.tags.items() if not name.startswith(PREFIX)})


def name_of(version: VersionInfo) -> str:
    """As `rollout.of` has it."""
    return f"{version.name}/{version.version}"


@dataclass(frozen=True, kw_only=True)
class MlflowVersions:
    """The registry in MLflow."""

    model_name: str
    alias: str
    tracking_uri: str
    challenger_alias: str = ""

    def desired(self) -> VersionInfo | None:
        """The version under the alias, or None. Raises UnavailableError."""
        version = resolve(self.model_name, self.alias, tracking_uri=self.tracking_uri)
        return version and with_own_marks(version)

    def marked(self) -> list[VersionInfo]:
        """Versions that are serving or rolling according to their tags, the latest first. Raises UnavailableError."""
        versions = map(with_own_marks, versions_of(self.model_name, tracking_uri=self.tracking_uri))
        active = [version for version in versions if version.tags.get(STATE) in ("serving", "rolling")]
        return sorted(active, key=lambda version: version.tags.get(AT, ""), reverse=True)

    def mark(self, version: VersionInfo, state: State, reason: str, code: Code | None = None) -> None:
        """Writes state, reason, code and time, unless they are unchanged. Raises UnavailableError."""
        tags = {
            OF: name_of(version),
            BY: version.tags.get(PROMOTED_BY, BY_NOBODY),
            REASON: reason[:MAX_REASON_CHARACTERS],
            EVIDENCE: evidence_of(version),
            **({} if code is None else {CODE: code.value}),
            STATE: state,
        }
        if state == "superseded":
            del tags[BY]  # that of its own promotion stays
        if all(version.tags.get(name) == value for name, value in tags.items()):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        # The state comes last: when it can be read, so can the reason.
        set_tags(version.name, version.version, {AT: now, **tags}, tracking_uri=self.tracking_uri)
        if code is None and CODE in version.tags:
            remove_tag(version.name, version.version, CODE, tracking_uri=self.tracking_uri)

    def challenger(self) -> VersionInfo | None:
        """The version under `challenger_alias`; None where that is empty. Raises UnavailableError."""
        if not self.challenger_alias:
            return None
        version = resolve(self.model_name, self.challenger_alias, tracking_uri=self.tracking_uri)
        return version and with_own_marks(version)

    def note(self, version: VersionInfo, tags: Mapping[str, str]) -> None:
        """Writes tags of the rollout, in their order. Raises UnavailableError."""
        set_tags(version.name, version.version, {OF: name_of(version), **tags}, tracking_uri=self.tracking_uri)
