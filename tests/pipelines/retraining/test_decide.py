from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.retraining.decide import Cause, Decision, Evidence, RetrainFacts, TrainedVersion, decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHAMPION = TrainedVersion(version="3", created_at=NOW - timedelta(days=41))
LATER = TrainedVersion(version="4", created_at=NOW - timedelta(days=2))
DATA = Evidence(cause=Cause.DATA, what="ravdess: 10 → 12 recordings")
DRIFTED = replace(CHAMPION, drift="unlike before", drift_at=NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("facts", "kind", "causes", "words"),
    [
        (RetrainFacts(now=NOW), "nothing", (), "Nothing to do"),
        (RetrainFacts(now=NOW, champion=CHAMPION), "nothing", (), "Nothing to do"),
        (RetrainFacts(now=NOW, champion=CHAMPION, max_age_days=41.5), "nothing", (), "Nothing to do"),
        (RetrainFacts(now=NOW, changes=(DATA,)), "retrain", ("data",), "data: ravdess: 10 → 12 recordings"),
        (RetrainFacts(now=NOW, champion=CHAMPION, max_age_days=30), "review", ("age",), "41.0 days old, 30 allowed"),
        (
            RetrainFacts(now=NOW, champion=CHAMPION, max_age_days=30, changes=(DATA,)),
            "retrain",
            ("data", "age"),
            "Training again: data, age",
        ),
        (RetrainFacts(now=NOW, champion=DRIFTED), "review", ("drift",), "unlike before (reported 2026-02-28)"),
        (RetrainFacts(now=NOW, champion=DRIFTED, successor=LATER), "review", ("drift",), "`mer promote 4`"),
        (
            RetrainFacts(now=NOW, champion=replace(CHAMPION, withdrawn=2)),
            "review",
            ("withdrawal",),
            "2 of the people it was made with have withdrawn",
        ),
    ],
)
def test_decisions(facts: RetrainFacts, kind: str, causes: tuple[str, ...], words: str) -> None:
    decision = decide(facts)
    assert (decision.kind, decision.names) == (kind, causes)
    assert words in str(decision)
    assert Decision.from_json(decision.to_json()) == decision


def test_a_title_names_every_cause_once() -> None:
    decision = decide(RetrainFacts(now=NOW, changes=(DATA, replace(DATA, what="emodb is new"))))
    assert decision.title == "retrain: data"
    assert Decision(kind="nothing").title == "nothing"
