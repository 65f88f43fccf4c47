"""One HTTP port for every Serve application of a test session: Serve opens it once and keeps it."""

from __future__ import annotations

import socket
from functools import cache


@cache
def http_port() -> int:
    """A port that was free at the first call."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
