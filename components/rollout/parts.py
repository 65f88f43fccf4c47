"""The processes that Ray Serve runs, from its own report, so that one that ended is noticed and named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTROLLER, PROXY, REPLICA = "the controller of Ray Serve", "the HTTP proxy", "replica"


def parts_of(details: Mapping[str, Any], application: str) -> dict[str, str]:
    """Process → its name, of those in the report of Serve's controller; empty where Serve does not run."""
    parts = dict.fromkeys(_workers([details.get("controller_info")]), CONTROLLER)
    parts |= dict.fromkeys(_workers(details.get("proxies", {}).values()), PROXY)
    reported = details.get("applications", {}).get(application) or {}
    for deployment in reported.get("deployments", {}).values():
        for replica in deployment.get("replicas", ()):
            parts |= dict.fromkeys(_workers([replica]), f"{REPLICA} {replica['replica_id']}")
    return parts


def ended(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of processes that are no longer there; none while Serve does not answer (`now` is empty)."""
    return [name for worker, name in before.items() if worker not in now] if now else []


def _workers(actors: Any) -> list[str]:
    return [actor["worker_id"] for actor in actors if actor and actor.get("worker_id")]
