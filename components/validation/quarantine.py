"""Turns failures into quarantine rows, except for clips that a person accepted."""

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
    """People's decisions: on this stage's quarantine, and on the refusals of alignment, which are judged again here
    (alignment compares the figure that they decided on)."""

    here: Decisions = field(default_factory=Decisions)
    alignment: Decisions = field(default_factory=Decisions)

    def decision(self, judged: ExpectationOutcome, clip_id: str, seen: str) -> Readmitted | None:
        """The decision to accept a clip that covers a failure, or None."""
        expectation = judged.expectation
        if not expectation.waivable:
            return None
        if self.here.covers(clip_id, expectation.name, seen):
            return self.here.as_is[clip_id, expectation.name]
        return self.alignment.as_is.get((clip_id, _CODE_AT_ALIGNMENT.get(expectation.name, "")))


def quarantined_rows(
    dataset: str, outcomes: Iterable[Outcome], waivers: Waivers
) -> tuple[list[Quarantined], list[Readmitted]]:
    """One row per clip and broken `row` expectation, with the value seen, the values allowed and the remedy; and the
    decisions that waived further rows."""
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
