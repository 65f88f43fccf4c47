"""Asking a service of this machine whether it is there, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


def answer_of(url: str, *, timeout_s: float) -> httpx.Response | None:
    """What a GET answers; None where nothing answers in time, or with an error.

    No proxy that the environment names is asked: it could not reach this machine's loopback.
    """
    import httpx

    try:
        return httpx.get(url, timeout=timeout_s, follow_redirects=True, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        return None
