from __future__ import annotations

from typing import Any

import pytest

from components.rollout.actual import actual_of, plain

CONFIG = {"model_name": "mer", "version": "2", "bundle_sha256": "a" * 64, "tracking_uri": "sqlite://"}
TRACE = """Failed to update the deployments ['Replica'].
  File "service.py", line 60, in load
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
components.contracts.errors.BundleError: golden-0: clip: the golden examples do not hold; seen 0.2
"""


def details(status: str, user_config: dict[str, Any] | None = None, message: str = "") -> dict[str, Any]:
    return {
        "applications": {
            "mer": {
                "status": status,
                "message": "see the deployment",
                "deployed_app_config": {"deployments": [{"name": "Replica", "user_config": user_config}]},
                "deployments": {"Replica": {"message": message}},
            }
        }
    }


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("RUNNING", "running"),
        ("DEPLOYING", "rolling"),
        ("UNHEALTHY", "rolling"),
        ("DEPLOY_FAILED", "failed"),
        ("A_STATE_OF_A_LATER_RAY", "rolling"),
    ],
)
def test_phases(status: str, phase: str) -> None:
    actual = actual_of(details(status, CONFIG), "mer", "Replica")
    assert actual.phase == phase
    assert actual.applied is not None
    assert actual.applied.version == "2"


def test_no_application_and_no_version() -> None:
    assert actual_of({}, "mer", "Replica").phase == "absent"
    assert actual_of({"applications": {}}, "mer", "Replica").phase == "absent"
    assert actual_of(details("RUNNING", {}), "mer", "Replica").applied is None
    assert actual_of(details("RUNNING", {"foreign": 1}), "mer", "Replica").applied is None


def test_a_failure_in_one_line() -> None:
    actual = actual_of(details("DEPLOY_FAILED", CONFIG, TRACE), "mer", "Replica")
    assert actual.message == "golden-0: clip: the golden examples do not hold; seen 0.2"
    assert plain("first\nlast\n") == "last"
    assert plain("") == ""
