from __future__ import annotations

from typing import Any

import pytest
import ray

from components.contracts.cluster import ADDRESS_VARIABLE, BYTES_PER_MB, connect
from components.contracts.config import RayResources
from components.contracts.errors import UnavailableError

# As Ray 2.60 raises it, with its own type.
LATE = Exception("The current node timed out during startup. This could\nhappen because the GCS has become overloaded.")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray was asked for; it is never started and always late."""
    calls: list[dict[str, Any]] = []

    def late(**options: Any) -> None:
        calls.append(options)
        raise LATE

    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", late)
    return calls


def test_a_ray_that_is_late_is_told_with_what_to_do(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(UnavailableError) as caught:
        connect(RayResources(num_cpus=3, object_store_mb=80))
    assert caught.value.__cause__ is LATE
    for words in (
        "Ray did not start",
        "timed out during startup. This could happen because",
        "Try again",
        "RAY_ADDRESS",
    ):
        assert words in str(caught.value)
    assert (asked[0]["num_cpus"], asked[0]["object_store_memory"]) == (3, 80 * BYTES_PER_MB)
    assert "address" not in asked[0]


def test_a_cluster_that_does_not_answer_is_named(asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, "10.0.0.1:6379")
    with pytest.raises(UnavailableError, match=r"RAY_ADDRESS=10\.0\.0\.1:6379: .*does not answer.*unset RAY_ADDRESS"):
        connect(RayResources())
    assert asked[0]["address"] == "auto"
