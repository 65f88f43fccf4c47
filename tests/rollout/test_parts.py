from __future__ import annotations

from components.rollout.parts import ended, parts_of

DETAILS = {
    "controller_info": {"worker_id": "c1"},
    "proxies": {"node": {"worker_id": "p1"}},
    "applications": {
        "mer": {"deployments": {"Replica": {"replicas": [{"replica_id": "r", "worker_id": "w1"}]}}},
        "other": {"deployments": {"Replica": {"replicas": [{"replica_id": "o", "worker_id": "w2"}]}}},
    },
}


def test_every_process_of_the_application_is_named() -> None:
    names = {"c1": "the controller of Ray Serve", "p1": "the HTTP proxy", "w1": "replica r"}
    assert parts_of(DETAILS, "mer") == names
    assert parts_of({}, "mer") == {}
    assert parts_of({"controller_info": {}, "proxies": {}, "applications": {}}, "mer") == {}


def test_what_is_gone_has_ended_unless_serve_does_not_answer() -> None:
    before = parts_of(DETAILS, "mer")
    now = {"c2": "the controller of Ray Serve", "p1": "the HTTP proxy", "w1": "replica r"}
    assert ended(before, now) == ["the controller of Ray Serve"]
    assert ended({}, now) == ended(before, {}) == []
