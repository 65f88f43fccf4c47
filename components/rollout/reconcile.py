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
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from components.contracts.atomic import read_json, write_json
from components.contracts.codes import Code
from components.contracts.config import Rollout
from components.contracts.errors import BundleError, ConfigError, MerError, UnavailableError
from components.registry.keys import TrustedKeys
from components.registry.proof import PROOF_TAG
from components.registry.trust import SHIPPED, check_gates
from components.rollout.actual import ServedApplication
from components.rollout.decide import Action, decide
from components.rollout.trial import (
    TRIAL,
    TRIAL_AT,
    TRIAL_EVIDENCE,
    TRIAL_REASON,
    TrialPlan,
    decide_trial,
    trial_evidence,
    trial_tags,
)
from components.rollout.versions import (
    CODE,
    MAX_REASON_CHARACTERS,
    STATE,
    Versions,
    eligible_again,
    name_of,
    stands_refused,
)
from components.serving.assignment import Assignment, Trial
from components.serving.compatible import check_fits
from components.serving.service import load_version, trust_in
from components.serving.trial import TrialCounts
from components.tracking.versions import VersionInfo

# While replicas change, poll more often than usual, for the person who moved the alias.
BUSY_POLL_S = 0.3
# How often the checks of a version that they refused are made again: the files may have been mended, or this code may
# be newer.
RECHECK_S = 60.0
# How often the figures of a trial are written to the challenger's tags.
TRIAL_EVERY_S = 60.0
log = logging.getLogger("mer.rollout")


class Control(Protocol):
    """The operations on Serve that the reconciler needs."""

    def actual(self) -> ServedApplication:
        """The present state of the application."""

    def deploy(self, version: Assignment | None) -> None:
        """Deploys a version to the replicas; returns at once."""

    def trial_counts(self, trial: str) -> TrialCounts | None:
        """What the replicas counted of a trial."""


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
        rollout: the settings of a trial.
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
    rollout: Rollout = field(default_factory=Rollout)
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
        if action.kind == "keep" and action.version is not None and actual.applied is not None:
            self._try_challenger(action.version, actual.applied)
        return action

    def _try_challenger(self, champion: VersionInfo, applied: Assignment) -> None:
        """Gives the replicas the trial that `decide_trial` plans, and notes on the challenger how it goes."""
        challenger = self.versions.challenger()
        counts = None if applied.trial_id is None else self.control.trial_counts(applied.trial_id)
        plan = decide_trial(challenger, champion, counts, self.rollout)
        if challenger is None or plan.share is None:
            trial = None
        elif applied.trial is not None and applied.trial.challenger.bundle_sha256 == challenger.bundle_sha256:
            trial = Trial(challenger=self._reference(challenger).version_alone, share=plan.share)  # checked before
        else:
            try:
                trial = Trial(challenger=self._checked(challenger).version_alone, share=plan.share)
            except UnavailableError:
                raise
            except MerError as error:
                trial, plan = None, TrialPlan(share=None, reason=str(error), state="refused")
        if trial != applied.trial:
            self.control.deploy(self._reference(champion).model_copy(update={"trial": trial}))
        if challenger is not None and plan.state is not None:
            self._note_trial(challenger, champion, plan, counts)

    def _note_trial(
        self, challenger: VersionInfo, champion: VersionInfo, plan: TrialPlan, counts: TrialCounts | None
    ) -> None:
        """Tags on the challenger: at once where its state changes, else what was counted, once a minute."""
        tags, key = challenger.tags, f"{TRIAL} {name_of(challenger)}"
        evidence = trial_evidence(challenger, champion)
        changed = tags.get(TRIAL) != plan.state or tags.get(TRIAL_EVIDENCE) != evidence
        figures = trial_tags(counts, champion, plan.share)
        same = all(tags.get(name) == value for name, value in figures.items())
        due = time.monotonic() - self.checked.get(key, -TRIAL_EVERY_S) >= TRIAL_EVERY_S
        if not changed and (same or not due):
            return
        self.checked[key] = time.monotonic()
        if changed:
            log.info("trial of version %s: %s: %s", challenger.version, plan.state, plan.reason)
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            reason = plan.reason[:MAX_REASON_CHARACTERS]
            figures |= {TRIAL_REASON: reason, TRIAL_AT: now, TRIAL_EVIDENCE: evidence, TRIAL: str(plan.state)}
        self.versions.note(challenger, figures)

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

    def _checked(self, version: VersionInfo) -> Assignment:
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
            write_json(self.remembered, self._reference(version).to_config())
        self.versions.mark(version, "serving", action.reason)
        for other in marked:
            if other.version != version.version:
                self.versions.mark(other, "superseded", f"version {version.version} took over")
        return action

    def _start_without_registry(self) -> None:
        actual, last = self.control.actual(), self._last_time()
        if actual.phase == "absent" or (actual.applied is None and last is not None):
            self.control.deploy(last)

    def _last_time(self) -> Assignment | None:
        if self.remembered is None or not self.remembered.is_file():
            return None
        try:
            last = Assignment.of(read_json(self.remembered))
        except (ValueError, TypeError, ConfigError):
            return None
        return last.model_copy(update={"tracking_uri": self.tracking_uri})

    def _reference(self, version: VersionInfo) -> Assignment:
        sha256 = version.bundle_sha256
        if sha256 is None:
            raise BundleError("the version does not name its bundle", where=f"{version.name} {version.version}")
        return Assignment.of(
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
