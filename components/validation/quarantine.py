"""From failures to quarantine rows, but for what a person takes as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from components.contracts.readmitted import Decisions, Readmitted
from components.contracts.records import Quarantined
from components.validation.checkpoint import ExpectationOutcome, Outcome
from components.validation.suites import GATES

STAGE = "validation"
_CODE_AT_ALIGNMENT = {expectation: code for code, expectation in GATES.items()}


@dataclass(frozen=True, kw_only=True)
class Waivers:
    """What people decided: about this stage's quarantine, and about what alignment refused, which is judged here again
    (alignment knows what they saw)."""

    here: Decisions = field(default_factory=Decisions)
    alignment: Decisions = field(default_factory=Decisions)

    def decision(self, judged: ExpectationOutcome, clip_id: str, seen: str) -> Readmitted | None:
        """The decision to take a clip as it is that covers a failure, or None."""
        expectation = judged.expectation
        if not expectation.waivable:
            return None
        if self.here.covers(clip_id, expectation.name, seen):
            return self.here.as_is[clip_id, expectation.name]
        return self.alignment.as_is.get((clip_id, _CODE_AT_ALIGNMENT.get(expectation.name, "")))


def quarantined_rows(
    dataset: str, outcomes: Iterable[Outcome], waivers: Waivers
) -> tuple[list[Quarantined], list[Readmitted]]:
    """One row a clip and broken `row` expectation, with what was seen, what is allowed and what to do; and the
    decisions that kept further rows out."""
    rows: list[Quarantined] = []
    waived: set[Readmitted] = set()
    for outcome in outcomes:
        for judged in outcome.failed:
            expectation = judged.expectation
            if expectation.level != "row":
                continue
            for clip_id, seen in judged.failures:
                decision = waivers.decision(judged, clip_id, seen)
                if decision is not None:
                    waived.add(decision)
                    continue
                rows.append(
                    Quarantined(
                        dataset=dataset,
                        clip_id=clip_id,
                        stage=STAGE,
                        code=expectation.name,
                        message=f"{clip_id}: broken expectation: {expectation.says} (seen: {seen})",
                        field=expectation.field,
                        seen=seen,
                        allowed=expectation.allowed,
                        remedy=expectation.remedy,
                    )
                )
    return rows, sorted(waived)
