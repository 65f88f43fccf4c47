"""The loop that makes the served version follow the alias.

Level-triggered: every step reads the registry and Serve again, takes the one action that `decide` returns, and keeps no
state. It converges after any crash or restart, and in whatever order it and the other processes start. A webhook
(`webhook.py`) only wakes it earlier. The version that was confirmed last is written to a file, which is read in one
case alone: Serve starts while the registry is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from components.contracts.atomic import read_json, write_json
from components.contracts.codes import Code
from components.contracts.errors import BundleError, ConfigError, MerError, UnavailableError
from components.registry.keys import TrustedKeys
from components.registry.proof import PROOF_TAG
from components.registry.trust import SHIPPED, check_gates
from components.rollout.actual import ServedApplication
from components.rollout.decide import Action, decide
from components.rollout.versions import CODE, STATE, Versions, eligible_again, name_of, stands_refused
from components.serving.compatible import check_fits
from components.serving.service import VersionRef, load_version, trust_in
from components.tracking.versions import VersionInfo

# While replicas change, poll more often than usual, for the person who moved the alias.
BUSY_POLL_S = 0.3
# How often the checks of a version that they refused are made again: the files may have been mended, or this code may
# be newer.
RECHECK_S = 60.0
log = logging.getLogger("mer.rollout")


class Control(Protocol):
    """The operations on Serve that the reconciler needs."""

    def actual(self) -> ServedApplication:
        """The present state of the application."""

    def deploy(self, version: VersionRef | None) -> None:
        """Deploys a version to the replicas; returns at once."""


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """One step of the rollout; it holds no state of its own but when it last checked a refused version.

    Attributes:
        versions: the registry.
        control: Ray Serve.
        tracking_uri: passed to the replicas, to fetch a bundle that is not in their cache.
        cache: the folder of bundles, by hash.
        keys: those whose signatures count.
        golden_tolerance: the largest allowed deviation of a golden output.
        remembered: the file with the version that was confirmed last; None: a start without the registry serves none.
        answering: returns the versions that answer over HTTP; None where the service cannot be reached from here.
        recheck_s: seconds between two checks of a version that the checks refused.
        checked: version → when it was checked last, by the monotonic clock.
    """

    versions: Versions
    control: Control
    tracking_uri: str
    cache: Path
    keys: TrustedKeys
    golden_tolerance: float
    remembered: Path | None = None
    answering: Callable[[], set[str]] | None = None
    recheck_s: float = RECHECK_S
    checked: dict[str, float] = field(default_factory=dict)

    def reconcile_once(self) -> Action:
        """Reads, decides, acts once, and returns the action.

        Raises:
            UnavailableError: MLflow, its artifacts or Serve cannot be reached now; nothing was changed, but that a
                service which did not run was started with the version of last time.
        """
        try:
            desired = self.versions.desired()
            marked = self.versions.marked()
        except UnavailableError:
            self._start_without_registry()
            raise
        actual = self.control.actual()
        action = decide(desired, _good(desired, marked), actual)
        if desired is not None and stands_refused(desired) and self._is_mended(desired):
            again = decide(eligible_again(desired), _good(desired, marked), actual)
            action = action if again.kind == "refuse" else again
        if action.kind == "deploy":
            return self._deploy(action, desired)
        if action.kind == "refuse" and action.version is not None:
            self.versions.mark(action.version, "refused", action.reason, action.code)
        if action.kind == "confirm" and action.version is not None:
            return self._confirm(action, action.version, marked)
        return action

    def _deploy(self, action: Action, desired: VersionInfo | None) -> Action:
        version = action.version
        if version is None:
            if self.remembered is not None:
                self.remembered.unlink(missing_ok=True)
            self.control.deploy(None)
            return action
        try:
            reference = self._checked(version)
        except UnavailableError:
            raise  # no fault of the version: try again
        except MerError as error:
            # The alias may have moved since it was read; the mark names the version that was tried.
            reason = f"the bundle may not be served: {error}"
            self.versions.mark(version, "refused", reason, error.code)
            return Action(kind="refuse", version=version, reason=reason, code=error.code)
        self.control.deploy(reference)  # before its tags, which take a request each
        if desired is not None and version.version == desired.version:
            self.versions.mark(version, "rolling", "checks passed; the replicas are changing to it")
        return action

    def _checked(self, version: VersionInfo) -> VersionRef:
        """The version for the replicas, after the checks that each of them makes, and of the gates in its bundle."""
        self.checked[name_of(version)] = time.monotonic()
        reference = self._reference(version)
        keyring = self.keys.keyring()
        bundle = load_version(reference, self.cache, keyring)
        check_gates(bundle, trust_in(reference, self.cache, keyring))
        bundle.check_goldens(self.golden_tolerance)
        check_fits(bundle)
        return reference

    def _is_mended(self, version: VersionInfo) -> bool:
        """Whether a version that the checks refused would pass them now. What replicas failed at is not tried again."""
        last = self.checked.get(name_of(version))
        if version.tags.get(CODE) == Code.REPLICAS or (last is not None and time.monotonic() - last < self.recheck_s):
            return False
        try:
            self._checked(version)
        except MerError:
            return False
        return True

    def _confirm(self, action: Action, version: VersionInfo, marked: list[VersionInfo]) -> Action:
        if self.answering is not None:
            versions = self.answering()
            if versions != {version.version}:
                seen = ", ".join(sorted(versions)) or "none"
                reason = f"not all replicas answer with version {version.version} yet; answers came from: {seen}"
                return Action(kind="wait", version=version, reason=reason)
        action = replace(action, reason=action.reason + _unsigned(version))
        if self.remembered is not None:
            write_json(self.remembered, self._reference(version).model_dump())
        self.versions.mark(version, "serving", action.reason)
        for other in marked:
            if other.version != version.version:
                self.versions.mark(other, "superseded", f"version {version.version} took over")
        return action

    def _start_without_registry(self) -> None:
        actual, last = self.control.actual(), self._last_time()
        if actual.phase == "absent" or (actual.applied is None and last is not None):
            self.control.deploy(last)

    def _last_time(self) -> VersionRef | None:
        if self.remembered is None or not self.remembered.is_file():
            return None
        try:
            last = VersionRef.of(read_json(self.remembered))
        except (ValueError, TypeError, ConfigError):
            return None
        return last.model_copy(update={"tracking_uri": self.tracking_uri})

    def _reference(self, version: VersionInfo) -> VersionRef:
        sha256 = version.bundle_sha256
        if sha256 is None:
            raise BundleError("the version does not name its bundle", where=f"{version.name} {version.version}")
        return VersionRef.of(
            {
                "model_name": version.name,
                "version": version.version,
                "bundle_sha256": sha256,
                "tracking_uri": self.tracking_uri,
                "proof": version.tags.get(PROOF_TAG, ""),
            }
        )


def _unsigned(version: VersionInfo) -> str:
    if PROOF_TAG in version.tags or version.bundle_sha256 in SHIPPED:
        return ""
    return (
        f"; it is not signed, and is served only where its bundle was before versions were signed: review it, then "
        f"`mer sign {version.version}`"
    )


def _good(desired: VersionInfo | None, marked: list[VersionInfo]) -> VersionInfo | None:
    """The version to fall back to: the one that is serving according to its tags, otherwise one that had passed its
    checks and was being rolled out; never the desired one."""
    others = [version for version in marked if desired is None or version.version != desired.version]
    serving = [version for version in others if version.tags.get(STATE) == "serving"]
    return next(iter(serving or others), None)


@dataclass
class Loop:
    """Runs steps until it is stopped. `stop` and `wake` may be set from any thread."""

    reconciler: Reconciler
    poll_s: float
    on_action: Callable[[Action], None] | None = None
    on_error: Callable[[str], None] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Steps until `stop` is set. An error is reported when it first appears, and the next step tries again."""
        reported = ""
        while not self.stop.is_set():
            pause_s, error = self._step()
            if error and error != reported:
                log.warning("%s", error)
                if self.on_error is not None:
                    self.on_error(error)
            reported = error
            self.wake.wait(pause_s)
            self.wake.clear()

    def halt(self) -> None:
        """Ends `run` at its next pause."""
        self.stop.set()
        self.wake.set()

    def _step(self) -> tuple[float, str]:
        """Seconds until the next step, and the error of this one, if any."""
        try:
            action = self.reconciler.reconcile_once()
        except MerError as error:
            return self.poll_s, str(error)
        except Exception as error:  # a step may fail in any library, and the loop must go on
            log.debug("a rollout step failed", exc_info=True)
            return self.poll_s, f"a rollout step failed: {type(error).__name__}: {error}"
        log.log(
            logging.DEBUG if action.kind in ("keep", "wait") else logging.INFO, "%s: %s", action.kind, action.reason
        )
        if self.on_action is not None:
            self.on_action(action)
        return (self.poll_s if action.kind == "keep" else BUSY_POLL_S), ""
