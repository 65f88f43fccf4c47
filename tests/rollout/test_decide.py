from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.rollout.actual import ServedApplication
from components.rollout.decide import decide, missing_evidence, same, withdrawn
from components.rollout.versions import EVIDENCE, STATE, evidence_of
from components.serving.assignment import Assignment
from components.tracking.versions import BUNDLE_TAG, VersionInfo


def version(
    number: str, *, state: str | None = None, gates: str | None = "true", bundle: bool = True, **more: str
) -> VersionInfo:
    tags = dict(more) if gates is None else {"gates.passed": gates, **more}
    if bundle:
        tags[BUNDLE_TAG] = number * 64
    info = VersionInfo(name="mer", version=number, tags=tags, source=f"file:///{number}")
    if state is None:
        return info
    tags = {**tags, STATE: state, EVIDENCE: evidence_of(info)}
    return VersionInfo(name="mer", version=number, tags=tags, source=info.source)


def reference_of(info: VersionInfo) -> Assignment:
    return Assignment(
        model_name=info.name, version=info.version, bundle_sha256=info.version * 64, tracking_uri="sqlite://"
    )


def serving(info: VersionInfo | None, phase: str = "running") -> ServedApplication:
    return ServedApplication(phase=phase, applied=info and reference_of(info), message="out of memory")  # type: ignore[arg-type]


ONE, TWO = version("1"), version("2")
GOOD = version("1", state="serving")
REFUSED = version("2", state="refused")
# One of the people it was made with has withdrawn.
MARK = {"withdrawn.subjects": "0a1b2c3d4e5f", "withdrawn.splits": "train", "withdrawn.at": "2026-03-01"}


@pytest.mark.parametrize(
    ("desired", "good", "actual", "kind", "about"),
    [
        # start-up, with and without something to serve
        (None, None, ServedApplication(phase="absent"), "deploy", None),
        (None, None, serving(None), "keep", None),
        (ONE, None, ServedApplication(phase="absent"), "deploy", "1"),
        (None, GOOD, ServedApplication(phase="absent"), "deploy", "1"),
        (REFUSED, GOOD, ServedApplication(phase="absent"), "deploy", "1"),
        (REFUSED, None, ServedApplication(phase="absent"), "deploy", None),
        # a promotion, step by step
        (TWO, GOOD, serving(GOOD), "deploy", "2"),
        (TWO, GOOD, serving(TWO, "rolling"), "wait", "2"),
        (TWO, GOOD, serving(TWO), "confirm", "2"),
        (version("2", state="serving"), None, serving(TWO), "keep", "2"),
        # what may not be served, and what then happens
        (version("2", gates=None), GOOD, serving(GOOD), "refuse", "2"),
        (version("2", gates="false"), GOOD, serving(GOOD), "refuse", "2"),
        (version("2", bundle=False), GOOD, serving(GOOD), "refuse", "2"),
        (REFUSED, GOOD, serving(GOOD), "keep", "1"),
        (TWO, GOOD, serving(TWO, "failed"), "refuse", "2"),
        (REFUSED, GOOD, serving(TWO, "failed"), "deploy", "1"),
        (REFUSED, None, serving(TWO, "failed"), "deploy", None),
        (REFUSED, GOOD, serving(GOOD, "rolling"), "wait", "1"),
        # a person withdrew: the version is not newly served, stays where it is served, and may be accepted by name
        (version("2", **MARK), GOOD, serving(GOOD), "refuse", "2"),
        (version("2", **MARK), None, ServedApplication(phase="absent"), "refuse", "2"),
        (version("2", state="superseded", **MARK), GOOD, serving(GOOD), "refuse", "2"),
        (version("2", state="serving", **MARK), None, serving(TWO), "keep", "2"),
        (version("2", state="serving", **MARK), None, ServedApplication(phase="absent"), "deploy", "2"),
        (version("2", **MARK), GOOD, serving(TWO, "rolling"), "wait", "2"),
        (version("2", **MARK, **{"withdrawn.accepted_by": "kim"}), GOOD, serving(GOOD), "deploy", "2"),
        # the alias moves on, or back, while replicas are changing
        (ONE, None, serving(TWO, "rolling"), "deploy", "1"),
        # the alias is removed: the served version stays in service
        (None, GOOD, serving(GOOD), "keep", "1"),
    ],
)
def test_the_next_action(
    desired: VersionInfo | None, good: VersionInfo | None, actual: ServedApplication, kind: str, about: str | None
) -> None:
    action = decide(desired, good, actual)
    assert (action.kind, action.version and action.version.version) == (kind, about)
    assert action.reason


def test_a_failed_load_is_refused_with_the_replicas_message() -> None:
    assert "out of memory" in decide(TWO, GOOD, serving(TWO, "failed")).reason


def test_a_refusal_stands_until_something_about_the_version_changes() -> None:
    assert decide(REFUSED, GOOD, serving(GOOD)).kind == "keep"
    changed = VersionInfo(
        name="mer", version="2", tags={**REFUSED.tags, "gates.reviewed_by": "kim"}, source=REFUSED.source
    )
    assert decide(changed, GOOD, serving(GOOD)).kind == "deploy"
    without_state = {name: value for name, value in REFUSED.tags.items() if name != STATE}
    again = VersionInfo(name="mer", version="2", tags=without_state, source=REFUSED.source)
    assert decide(again, GOOD, serving(GOOD)).kind == "deploy"


def test_a_different_bundle_under_the_same_number_is_a_different_version() -> None:
    assert same(reference_of(ONE), ONE)
    assert not same(reference_of(ONE).model_copy(update={"bundle_sha256": "f" * 64}), ONE)
    assert not same(None, ONE)


def test_missing_evidence_in_words() -> None:
    assert missing_evidence(ONE) is None
    assert "gates.passed" in str(missing_evidence(version("1", gates=None)))
    assert "'false'" in str(missing_evidence(version("1", gates="false")))
    assert BUNDLE_TAG in str(missing_evidence(version("1", bundle=False)))


def test_a_withdrawal_in_words() -> None:
    assert withdrawn(ONE) is None
    reason = withdrawn(version("2", **{**MARK, "withdrawn.subjects": "a,b"}))
    assert reason is not None
    for words in ("2 of the people", "(train)", "2026-03-01", "mer run", "withdrawn.accepted_by"):
        assert words in reason


states = st.sampled_from([None, "rolling", "serving", "refused", "superseded"])
gate_tags = st.sampled_from([None, "true", "false", "True", ""])
versions = st.builds(version, st.sampled_from("123"), state=states, gates=gate_tags, bundle=st.booleans())
actuals = st.builds(
    serving,
    st.one_of(st.none(), st.sampled_from("123").map(version)),
    st.sampled_from(["absent", "rolling", "running", "failed"]),
)


@given(desired=st.none() | versions, actual=actuals)
def test_nothing_without_evidence_is_ever_given_to_the_replicas(
    desired: VersionInfo | None, actual: ServedApplication
) -> None:
    action = decide(desired, None, actual)
    if action.kind in ("deploy", "confirm") and action.version is not None:
        assert missing_evidence(action.version) is None
