"""Listens for MLflow's webhook, in a thread of the process that reconciles.

A connection lives for a few seconds and there are never many, so a flood takes neither its memory nor the open files
that the reconciler needs.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from components.contracts.codes import Code
from components.contracts.errors import UnavailableError
from components.rollout.webhook import Webhook

MAX_CONNECTIONS = 64
CONNECTION_S = 10.0
MAX_HEADER_BYTES = 16_384
END_S = 5.0


class _Impatient(H11Protocol):
    """A connection that ends after a while, whatever it is doing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self.connections) >= MAX_CONNECTIONS:
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(cast(asyncio.Transport, transport))
        self.loop.call_later(CONNECTION_S, cast(asyncio.Transport, transport).abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.connections:
            super().connection_lost(exc)


@contextmanager
def listening(secret: str, wake: Callable[[], object], *, host: str, port: int) -> Iterator[str]:
    """Listens while it is entered; yields the address.

    Args:
        secret: that messages must be signed with.
        wake: called from the server's thread for each new message.
        host, port: where; port 0 is any free one.

    Raises:
        UnavailableError: the port is taken (`port-busy`), or the host is not one of this machine.
    """
    listener = _bound(host, port)
    config = uvicorn.Config(
        Webhook(secret, wake),
        http=_Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="webhook", daemon=True)
    thread.start()
    try:
        yield f"http://{_shown(host)}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(END_S)
        listener.close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UnavailableError(
            "the port of the webhook cannot be had",
            where=f"{host}:{port}",
            seen=error.strerror,
            remedy="Set rollout.webhook_port to a free one; 0 is any, where `mer serve` starts MLflow itself.",
            code=Code.PORT_BUSY,
        ) from error


def _shown(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
