"""What a challenger may do, as tables and as properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.config import Rollout
from components.rollout.trial import (
    TRIAL,
    TRIAL_EVIDENCE,
    TRIAL_REASON,
    breach,
    decide_trial,
    lowest_share,
    stands,
    trial_evidence,
    trial_tags,
)
from components.serving.trial import TrialCounts
from components.tracking.versions import VersionInfo
from tests.rollout.test_decide import GOOD, MARK, version

CHAMPION, CHALLENGER = GOOD, version("2")
BOTH = Rollout(shadow=True, canary_share=0.1)
SHADOW, CANARY, OFF = Rollout(shadow=True), Rollout(canary_share=0.1), Rollout()


def counts(**given: float) -> TrialCounts:
    return TrialCounts(trial="t", **given)  # type: ignore[arg-type]


def after(state: str, challenger: VersionInfo = CHALLENGER, champion: VersionInfo = CHAMPION) -> VersionInfo:
    tags = {TRIAL: state, TRIAL_REASON: "as before", TRIAL_EVIDENCE: trial_evidence(challenger, champion)}
    return replace(challenger, tags={**challenger.tags, **tags})


@pytest.mark.parametrize(
    ("challenger", "seen", "rollout", "share", "state"),
    [
        # nobody to try, or nothing to be tried
        (CHALLENGER, None, OFF, None, None),
        (None, None, BOTH, None, None),
        (CHAMPION, None, BOTH, None, None),
        # on trial
        (CHALLENGER, None, SHADOW, 0.0, "shadow"),
        (CHALLENGER, None, CANARY, 0.1, "canary"),
        (CHALLENGER, counts(agreed=90, differed=10, answered=12), BOTH, 0.1, "canary"),
        # a shadow answers nobody, so nothing has to be returned
        (CHALLENGER, counts(differed=100), SHADOW, 0.0, "shadow"),
        # returned, with and without a shadow
        (CHALLENGER, counts(differed=100), BOTH, 0.0, "returned"),
        (CHALLENGER, counts(differed=100), CANARY, None, "returned"),
        (CHALLENGER, counts(agreed=20, errors=5), CANARY, None, "returned"),
        (CHALLENGER, counts(agreed=40, timed=40, challenger_s=8, champion_s=4), CANARY, None, "returned"),
        # it stays returned until one of the two is a different one, or its tag is deleted
        (after("returned"), None, BOTH, 0.0, "returned"),
        (after("returned"), None, CANARY, None, "returned"),
        (after("returned", champion=version("3")), None, CANARY, 0.1, "canary"),
        (after("canary"), None, CANARY, 0.1, "canary"),
        # what may not be served is not tried
        (version("2", gates=None), None, BOTH, None, "refused"),
        (version("2", gates="false"), None, SHADOW, None, "refused"),
        (version("2", bundle=False), None, BOTH, None, "refused"),
        (version("2", state="refused"), None, BOTH, None, "refused"),
        (version("2", **MARK), None, BOTH, None, "refused"),
        (CHALLENGER, counts(problem="no memory left"), BOTH, None, "refused"),
        (after("refused"), None, BOTH, None, "refused"),
    ],
)
def test_the_plan(
    challenger: VersionInfo | None, seen: TrialCounts | None, rollout: Rollout, share: float | None, state: str | None
) -> None:
    plan = decide_trial(challenger, CHAMPION, seen, rollout)
    assert (plan.share, plan.state) == (share, state)
    assert plan.reason


@pytest.mark.parametrize(
    ("seen", "about"),
    [
        (counts(errors=1), None),  # an accident
        (counts(errors=2), "errors: it could not judge 2 of 2"),
        (counts(agreed=98, errors=2), None),
        (counts(agreed=80, errors=20), "errors"),
        (counts(differed=29), None),  # too few
        (counts(agreed=18, differed=12), None),  # 40 %, but the interval reaches below 30 %
        (counts(agreed=180, differed=120), "disagreement: a different emotion on 120 of 300"),
        (counts(agreed=30, timed=30, challenger_s=1.4, champion_s=1.0), None),
        (counts(agreed=30, timed=30, challenger_s=1.6, champion_s=1.0), "latency: 1.60 times"),
        (counts(agreed=30, timed=29, challenger_s=1.6, champion_s=1.0), None),  # too few were timed
    ],
)
def test_a_bound_is_broken_where_there_is_evidence(seen: TrialCounts, about: str | None) -> None:
    reason = breach(seen, CANARY)
    assert reason is None if about is None else str(reason).startswith(about)


NUMBERS = st.integers(0, 500)
COUNTS = st.builds(
    TrialCounts,
    trial=st.just("t"),
    answered=NUMBERS,
    agreed=NUMBERS,
    differed=NUMBERS,
    errors=NUMBERS,
    dropped=NUMBERS,
    timed=NUMBERS,
    challenger_s=st.floats(0, 1e4),
    champion_s=st.floats(0, 1e4),
    problem=st.sampled_from(["", "", "", "it fell over"]),
)
ROLLOUTS = st.builds(Rollout, shadow=st.booleans(), canary_share=st.floats(0, 1))
VERSIONS = st.sampled_from(
    [CHALLENGER, CHAMPION, version("2", gates="false"), after("returned"), after("refused"), after("canary")]
)


@given(challenger=st.none() | VERSIONS, seen=st.none() | COUNTS, rollout=ROLLOUTS)
def test_a_share_is_given_by_the_settings_alone_and_never_beyond_a_bound(
    challenger: VersionInfo | None, seen: TrialCounts | None, rollout: Rollout
) -> None:
    plan = decide_trial(challenger, CHAMPION, seen, rollout)
    assert plan.share in (None, 0.0, rollout.canary_share)
    assert (plan.state in ("shadow", "canary")) <= (plan.share is not None)
    if plan.share:
        assert challenger is not None
        assert plan.state == "canary"
        assert not stands(challenger, CHAMPION)
        assert seen is None or (not seen.problem and breach(seen, rollout) is None)
    if plan.share == 0.0:
        assert rollout.shadow or plan.state == "canary"


@given(seen=COUNTS, rollout=ROLLOUTS)
def test_what_was_returned_stays_so_whatever_is_counted_later(seen: TrialCounts, rollout: Rollout) -> None:
    plan = decide_trial(CHALLENGER, CHAMPION, seen, rollout)
    if plan.state in ("returned", "refused"):
        for later in (None, counts(), counts(agreed=300)):
            again = decide_trial(after(plan.state), CHAMPION, later, rollout)
            assert (again.state, again.share) == (plan.state, plan.share)


@given(events=NUMBERS, more=NUMBERS)
def test_the_lower_end_of_a_share_lies_below_it(events: int, more: int) -> None:
    trials = events + more
    lowest = lowest_share(events, trials)
    assert 0.0 <= lowest <= (events / trials if trials else 0.0) + 1e-12
    assert lowest_share(10 * events, 10 * trials) >= lowest - 1e-12


def test_the_tags_say_what_was_counted() -> None:
    seen = counts(agreed=3, differed=1, answered=2, dropped=5, timed=4, challenger_s=1.0, champion_s=2.0)
    tags = {name.removeprefix(f"{TRIAL}."): value for name, value in trial_tags(seen, CHAMPION, 0.1).items()}
    assert tags == {
        "against": "1", "share": "0.1", "answered": "2", "compared": "4", "errors": "0", "dropped": "5",
        "agreement": "0.750", "latency_ratio": "0.500",
    }  # fmt: skip
    assert set(trial_tags(None, CHAMPION, None)) == {f"{TRIAL}.against", f"{TRIAL}.share"}
