from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from components.contracts.config import RayResources
from components.contracts.errors import UnavailableError
from components.runtime.cluster import ADDRESS_VARIABLE, BYTES_PER_MB, connect

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
    assert asked[0]["address"] == "local"  # not a Ray that somebody else started here


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of somebody who listens and is no cluster."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_cluster_that_does_not_answer_is_named(
    asked: list[dict[str, Any]], listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, listening)
    named = re.escape(f"RAY_ADDRESS={listening}")
    with pytest.raises(UnavailableError, match=rf"{named}: .*does not answer.*unset RAY_ADDRESS"):
        connect(RayResources())
    assert asked[0]["address"] == "auto"


def test_where_nobody_listens_ray_is_not_even_asked(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv(ADDRESS_VARIABLE, closed)
    with pytest.raises(UnavailableError, match=r"does not answer.*refused"):
        connect(RayResources())
    assert asked == []


@pytest.mark.parametrize("address", ["auto", "ray://head.example:10001"])
def test_other_forms_of_an_address_are_for_ray_to_judge(
    asked: list[dict[str, Any]], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, address)
    with pytest.raises(UnavailableError, match="does not answer"):
        connect(RayResources())
    assert len(asked) == 1
