"""The rollout decision as a pure function: desired and actual state → the next action, and why.

The reconciler calls it at every step with newly read states. So there is no progress to lose: after a crash or restart
the states read then give the right action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.contracts.codes import Code
from components.registry.evidence import GATES_TAG
from components.registry.marking import ACCEPTED_TAG, AT_TAG, SPLITS_TAG, SUBJECTS_TAG
from components.rollout.actual import ServedApplication
from components.rollout.versions import STATE, stands_refused
from components.serving.assignment import VersionRef
from components.tracking.versions import BUNDLE_TAG, VersionInfo

# keep: the states agree. wait: replicas are changing. refuse: mark the version, change nothing else. deploy: check the
# bundle, then deploy it to the replicas (None: start without a version). confirm: all replicas have it; record that.
Kind = Literal["keep", "wait", "refuse", "deploy", "confirm"]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One step, with the version concerned; a refusal has a code."""

    kind: Kind
    reason: str
    version: VersionInfo | None = None
    code: Code | None = None


def decide(desired: VersionInfo | None, good: VersionInfo | None, actual: ServedApplication) -> Action:
    """The next action.

    Args:
        desired: the version under the alias.
        good: the version that is (or was last) serving, to fall back to; never one with a refusal in force.
        actual: the state of Serve.
    """
    if desired is None:
        return _hold(good, actual, "no version has the alias")
    if stands_refused(desired):
        return _hold(good, actual, f"version {desired.version} was refused and has not changed since")
    if refusal := _barred(desired, actual):
        return refusal
    if actual.phase == "absent" or not same(actual.applied, desired):
        return Action(kind="deploy", version=desired, reason=f"the alias names version {desired.version}")
    if actual.phase == "failed":
        reason = f"the replicas could not load it: {actual.message}"
        return Action(kind="refuse", version=desired, reason=reason, code=Code.REPLICAS)
    return _settle(desired, actual)


def _barred(desired: VersionInfo, actual: ServedApplication) -> Action | None:
    """The refusal of a version that lacks evidence, or was made with people who withdrew."""
    if lacking := missing_evidence(desired):
        return Action(kind="refuse", version=desired, reason=lacking, code=Code.GATES)
    if (people := withdrawn(desired)) and not _serves(desired, actual):
        return Action(kind="refuse", version=desired, reason=people, code=Code.WITHDRAWN)
    return None


def missing_evidence(version: VersionInfo) -> str | None:
    """Why a version lacks the evidence to be considered, or None."""
    passed = version.tags.get(GATES_TAG)
    if passed is None:
        return f"no tag {GATES_TAG}: there is no evidence that this version passes the gates"
    if passed != "true":
        return f"the gates did not pass ({GATES_TAG} = {passed!r})"
    if not version.bundle_sha256:
        return f"no tag {BUNDLE_TAG}: the bundle cannot be verified"
    return None


def withdrawn(version: VersionInfo) -> str | None:
    """Why a version made with people who withdrew may not be rolled out, or None."""
    people = [subject for subject in version.tags.get(SUBJECTS_TAG, "").split(",") if subject]
    if not people or version.tags.get(ACCEPTED_TAG):
        return None
    return (
        f"{len(people)} of the people it was made with ({version.tags.get(SPLITS_TAG, 'unknown')}) have withdrawn, the "
        f"last on {version.tags.get(AT_TAG, 'an unknown day')}: train again without them with `mer run`, or name in "
        f"the tag {ACCEPTED_TAG} who is responsible for serving it"
    )


def _serves(version: VersionInfo, actual: ServedApplication) -> bool:
    """Whether it is in service, or was until the service stopped: a mark does not end a service."""
    if actual.phase == "absent":
        return version.tags.get(STATE) == "serving"
    return same(actual.applied, version)


def same(applied: VersionRef | None, version: VersionInfo) -> bool:
    """Whether exactly this version, with exactly this bundle, was deployed to the replicas."""
    return (
        applied is not None
        and applied.model_name == version.name
        and applied.version == version.version
        and applied.bundle_sha256 == version.bundle_sha256
    )


def _hold(good: VersionInfo | None, actual: ServedApplication, why: str) -> Action:
    """No new version may be served: keep the present one, or restore the last one."""
    if good is None:
        if actual.phase == "absent":
            return Action(kind="deploy", reason=f"{why}, and none was serving: starting without a version")
        if actual.phase == "failed":
            return Action(kind="deploy", reason=f"{why}, and none was serving: going back to no version")
        return Action(kind="keep", reason=why)
    if not same(actual.applied, good) or actual.phase in ("absent", "failed"):
        return Action(kind="deploy", version=good, reason=f"{why}: going back to version {good.version}")
    return _settle(good, actual, why)


def _settle(version: VersionInfo, actual: ServedApplication, why: str = "") -> Action:
    """The right version was deployed: wait for the replicas, then record it."""
    if actual.phase == "rolling":
        return Action(kind="wait", version=version, reason=f"replicas are changing to version {version.version}")
    if version.tags.get(STATE) != "serving":
        return Action(kind="confirm", version=version, reason=f"all replicas answer with version {version.version}")
    return Action(kind="keep", version=version, reason=why or f"version {version.version} is serving")
