"""The decision about a challenger on trial, as a pure function: what it may do beside the champion, and why.

The reconciler calls it at every step with newly read counts; nothing is remembered but the tags on the challenger.

rollout.trial             shadow | canary | returned | refused
rollout.trial.reason      why, as a sentence
rollout.trial.at          time of the last change, UTC, ISO 8601
rollout.trial.evidence    fingerprint of the two versions; once it changes, what was returned or refused is tried again
rollout.trial.…           what was counted lately: against, share, answered, compared, agreement, errors, dropped,
                          latency_ratio
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.contracts.config import Rollout
from components.contracts.fingerprint import fingerprint
from components.rollout.decide import missing_evidence, withdrawn
from components.rollout.versions import evidence_of, name_of, stands_refused
from components.serving.trial import TrialCounts
from components.tracking.versions import VersionInfo

TrialState = Literal["shadow", "canary", "returned", "refused"]
TRIAL = "rollout.trial"
TRIAL_REASON, TRIAL_AT, TRIAL_EVIDENCE = f"{TRIAL}.reason", f"{TRIAL}.at", f"{TRIAL}.evidence"
# A single error may be an accident.
MIN_ERRORS = 2
# The standard normal's 97.5 % point: a bound counts as broken where the whole interval of 95 % lies beyond it.
Z = 1.96


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What becomes of a challenger: the share of requests that it answers (None: no replica has it), and its tags (no
    state: nothing is written)."""

    share: float | None
    reason: str
    state: TrialState | None = None


NO_TRIAL = TrialPlan(share=None, reason="no challenger is on trial")


def decide_trial(
    challenger: VersionInfo | None, champion: VersionInfo, counts: TrialCounts | None, rollout: Rollout
) -> TrialPlan:
    """The plan for this moment.

    Args:
        challenger: the version under `rollout.challenger`.
        champion: the version in service.
        counts: what replicas counted of this trial; None: nothing yet.
        rollout: the settings.
    """
    if not (rollout.shadow or rollout.canary_share) or challenger is None or challenger.version == champion.version:
        return NO_TRIAL
    if reason := _barred(challenger, counts):
        return TrialPlan(share=None, reason=reason, state="refused")
    beside = 0.0 if rollout.shadow else None
    if stands(challenger, champion):
        reason = challenger.tags.get(TRIAL_REASON, "")
        refused = challenger.tags[TRIAL] == "refused"
        return TrialPlan(share=None if refused else beside, reason=reason, state="refused" if refused else "returned")
    if not rollout.canary_share:
        return TrialPlan(share=0.0, reason="it judges what the champion has answered", state="shadow")
    if counts is not None and (broken := breach(counts, rollout)):
        return TrialPlan(share=beside, reason=broken, state="returned")
    reason = f"it answers {rollout.canary_share:.0%} of the requests"
    return TrialPlan(share=rollout.canary_share, reason=reason, state="canary")


def _barred(challenger: VersionInfo, counts: TrialCounts | None) -> str | None:
    """Why no replica may have a challenger, or None."""
    if stands_refused(challenger):
        return "the rollout refused this version"
    if counts is not None and counts.problem:
        return f"a replica cannot load it: {counts.problem}"
    return missing_evidence(challenger) or withdrawn(challenger)


def stands(challenger: VersionInfo, champion: VersionInfo) -> bool:
    """Whether the challenger was returned or refused, and both versions are as they were then."""
    tags = challenger.tags
    return tags.get(TRIAL) in ("returned", "refused") and tags.get(TRIAL_EVIDENCE) == trial_evidence(
        challenger, champion
    )


def trial_evidence(challenger: VersionInfo, champion: VersionInfo) -> str:
    """Fingerprint of what is compared with what."""
    return fingerprint([evidence_of(challenger), name_of(champion), champion.bundle_sha256])


def breach(counts: TrialCounts, rollout: Rollout) -> str | None:
    """Why a challenger must not answer anybody, or None. Shares count where the whole interval lies beyond the bound,
    so that a few clips decide only where they are all of one kind."""
    tried = counts.compared + counts.errors
    if counts.errors >= MIN_ERRORS and lowest_share(counts.errors, tried) > rollout.canary_max_errors:
        return (
            f"errors: it could not judge {counts.errors} of {tried} clips that the champion judged "
            f"(allowed: {rollout.canary_max_errors:.1%})"
        )
    if counts.compared < rollout.canary_min_compared:
        return None
    if lowest_share(counts.differed, counts.compared) > rollout.canary_max_disagreement:
        return (
            f"disagreement: a different emotion on {counts.differed} of {counts.compared} clips "
            f"(allowed: {rollout.canary_max_disagreement:.0%})"
        )
    ratio = counts.latency_ratio
    if ratio is not None and counts.timed >= rollout.canary_min_compared and ratio > rollout.canary_max_latency_ratio:
        return (
            f"latency: {ratio:.2f} times what the champion takes for the same clips "
            f"(allowed: {rollout.canary_max_latency_ratio:g})"
        )
    return None


def lowest_share(events: int, trials: int) -> float:
    """The lower end of the 95 % interval of a share (Wilson, JASA 22, 1927); 0 without trials."""
    if not trials:
        return 0.0
    share, square = events / trials, Z**2 / trials
    spread = Z * ((share * (1 - share) + square / 4) / trials) ** 0.5
    return max((share + square / 2 - spread) / (1 + square), 0.0)


def trial_tags(counts: TrialCounts | None, champion: VersionInfo, share: float | None) -> dict[str, str]:
    """What was counted, as tags of the challenger."""
    tags = {"against": champion.version, "share": f"{share or 0:g}"}
    if counts is not None:
        tags |= {
            "answered": str(counts.answered),
            "compared": str(counts.compared),
            "errors": str(counts.errors),
            "dropped": str(counts.dropped),
        }
        if counts.agreement is not None:
            tags["agreement"] = f"{counts.agreement:.3f}"
        if counts.latency_ratio is not None:
            tags["latency_ratio"] = f"{counts.latency_ratio:.3f}"
    return {f"{TRIAL}.{name}": value for name, value in tags.items()}
