"""A probe of a service on this machine: its answer to a GET, if it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


def answer_of(url: str, *, timeout_s: float) -> httpx.Response | None:
    """The answer to a GET; None without one in time, or if it is an error.

    A proxy set in the environment is not used: it could not reach this machine's loopback.
    """
    import httpx

    try:
        return httpx.get(url, timeout=timeout_s, follow_redirects=True, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        return None
