"""HTTP to services on this machine: never through a proxy, and a probe that answers None where nothing runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Libraries read either spelling, and where both are set they differ in which counts: both are given the same value.
NO_PROXY = ("no_proxy", "NO_PROXY")
PROXY_ENDS = "_proxy"
EVERY_HOST = "*"


def bypass_proxies() -> None:
    """Excepts this machine from the proxies of the environment, for this process and its children.

    A proxy cannot reach this machine's loopback, on which MLflow, Ray and the service talk to each other; their clients
    (requests, httpx, gRPC) read the environment. What `NO_PROXY` names already stays; without a proxy nothing is set.
    """
    proxies = [name for name, value in os.environ.items() if value and name.lower().endswith(PROXY_ENDS)]
    if not set(proxies) - set(NO_PROXY):
        return
    given = [host.strip() for name in NO_PROXY for host in os.environ.get(name, "").split(",")]
    hosts = dict.fromkeys(host for host in given if host)
    if list(hosts) != [EVERY_HOST]:  # which some libraries understand only where it stands alone
        hosts.update(dict.fromkeys(LOOPBACK))
    os.environ.update(dict.fromkeys(NO_PROXY, ",".join(hosts)))


def answer_of(url: str, *, timeout_s: float) -> httpx.Response | None:
    """The answer to a GET; None without one in time, or if it is an error.

    A proxy set in the environment is not used, whatever host of this machine the address names.
    """
    import httpx

    try:
        return httpx.get(url, timeout=timeout_s, follow_redirects=True, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        return None
