"""Who may ask what: API keys and their limits, and the hosts and origins that a browser may come from.

A middleware of Serve's proxies, before a request costs anything. Whoever asks from a different machine needs a key. On
the machine itself none is needed (`serving.require_key`), but a browser there may show a stranger's page: that reaches
loopback by a host name of its own (DNS rebinding), or as a foreign origin, and both are refused.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.contracts.codes import Code
from components.contracts.config import Serving
from components.contracts.errors import AccessError, MerError
from components.serving.answers.schemas import Problem
from components.serving.http import api_keys
from components.serving.http.api_keys import ApiKey, KeyFile
from components.serving.http.observed import KEY, METRICS, OTHER, WEBSOCKET, WITH_KEY, route_of
from components.serving.http.problems import problem_response, status_of

# Files of the pages `/docs` and `/redoc`.
STATIC = "/static-offline-docs/"
SCHEME = "bearer"
# A page in a browser cannot set headers of a WebSocket; it offers its key as a subprotocol.
KEY_SUBPROTOCOL = "mer.key."


class Access:
    """The middleware.

    Args:
        app: the application behind it.
        serving: the settings.
        keys: the keys.
    """

    def __init__(self, app: ASGIApp, serving: Serving, keys: KeyFile) -> None:
        self._app = app
        self._serving = serving
        self._keys = keys
        self._limits = KeyLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            key = self._admitted(scope)
            with self._limits.place(key, where=_where(scope)):
                await self._app(scope, receive, send)
        except MerError as error:
            await _refusal(error, scope)(scope, _nothing, send)

    def _admitted(self, scope: Scope) -> ApiKey | None:
        """The key of a request, if it has one; raises AccessError or, where no key can be checked, ConfigError."""
        headers, where = Headers(scope=scope), _where(scope)
        required = self._serving.require_key or not from_here(scope)
        if self._serving.allowed_hosts or not required:
            check_host(headers, self._serving.allowed_hosts, where=where)
        check_origin(headers, self._serving.allowed_origins, where=where)
        needed = needed_scope(scope["path"])
        key = self._key(_sent_key(scope, headers), where)
        if key is not None:
            scope[KEY] = key.id
        if needed is None or (key is None and not required):
            return None
        if key is None:
            raise AccessError(
                "this needs an API key",
                where=where,
                allowed="the header `Authorization: Bearer KEY`",
                remedy="`mer keys create NAME` on the service's machine makes one.",
                code=Code.NO_KEY,
            )
        if needed not in key.scopes:
            raise AccessError(
                "this key is not for that",
                where=where,
                seen=f"key {key.name} with {', '.join(key.scopes)}",
                allowed=f"keys with {needed}",
                remedy=f"`mer keys create NAME --scope {needed}` makes one.",
                code=Code.NOT_ALLOWED,
            )
        return key

    def _key(self, sent: str | None, where: str) -> ApiKey | None:
        if sent is None:
            return None
        key = self._keys.find(sent)
        if key is None:
            raise AccessError(
                "this API key is unknown, or was revoked",
                where=where,
                remedy="`mer keys list` on the service's machine shows those that count.",
                code=Code.NO_KEY,
            )
        return key


class KeyLimits:
    """How often, and how often at a time, each key asks; of one proxy."""

    def __init__(self) -> None:
        self._rates = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._present: Counter[str] = Counter()

    @contextmanager
    def place(self, key: ApiKey | None, *, where: str) -> Iterator[None]:
        """Counts a request of a key; raises AccessError where it is one too many."""
        if key is None:
            yield
            return
        self._check_rate(key, where)
        if key.at_once is not None and self._present[key.id] >= key.at_once:
            raise AccessError(
                "too many requests of this key at once",
                where=where,
                allowed=f"{key.at_once} at a time",
                remedy="Send it again when one of them has been answered.",
                code=Code.TOO_MANY,
            )
        self._present[key.id] += 1
        try:
            yield
        finally:
            self._present[key.id] -= 1

    def _check_rate(self, key: ApiKey, where: str) -> None:
        limit = key.limit
        if limit is None or self._rates.hit(limit, key.id):
            return
        wait_s = max(math.ceil(self._rates.get_window_stats(limit, key.id).reset_time - time.time()), 1)
        raise RateError(
            "too many requests of this key",
            where=where,
            allowed=str(key.rate),
            remedy=f"Send it again after {wait_s} s.",
            code=Code.RATE_LIMIT,
        ).after(wait_s)


class RateError(AccessError):
    """A refusal that ends at a known time."""

    wait_s: int | None = None

    def after(self, wait_s: int) -> RateError:
        """The same, with the seconds until it ends."""
        self.wait_s = wait_s
        return self


def needed_scope(path: str) -> api_keys.Scope | None:
    """What a key must be for; None: it needs none, since it says nothing of anybody."""
    route = route_of(path)
    if route == METRICS:
        return api_keys.Scope.ADMIN
    return api_keys.Scope.PREDICT if route in WITH_KEY or (route == OTHER and STATIC not in path) else None


def from_here(scope: Scope) -> bool:
    """Whether a request comes from this machine."""
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def is_loopback(host: str) -> bool:
    """Whether an address, or a name that a service listens on, is this machine's own."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return host == "localhost" if address is None else address.is_loopback


def check_host(headers: Headers, allowed: Sequence[str], *, where: str) -> None:
    """Refuses a host name that nobody gave this service. An address, or `localhost`, is never a stranger's name."""
    name = (urlsplit(f"//{headers.get('host', '')}").hostname or "").rstrip(".")
    own = not name or name == "localhost" or name.endswith(".localhost") or _address(name) is not None
    if own or any(_matches(name, pattern) for pattern in allowed):
        return
    raise AccessError(
        "the service is not known by this name",
        where=where,
        seen=name,
        allowed=", ".join(["localhost", "an address", *allowed]),
        remedy="Name it in serving.allowed_hosts.",
        code=Code.WRONG_HOST,
    )


def check_origin(headers: Headers, allowed: Sequence[str], *, where: str) -> None:
    """Refuses what a page of a different origin sends."""
    origin = headers.get("origin")
    if origin is None or origin in allowed or urlsplit(origin).netloc.lower() == headers.get("host", "").lower():
        return
    raise AccessError(
        "a page of a different origin may not ask this service",
        where=where,
        seen=origin,
        allowed=", ".join(["the service's own", *allowed]),
        remedy="Name it in serving.allowed_origins.",
        code=Code.WRONG_ORIGIN,
    )


def _sent_key(scope: Scope, headers: Headers) -> str | None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == SCHEME:
        return given.strip()
    offered = (name for name in scope.get("subprotocols", ()) if name.startswith(KEY_SUBPROTOCOL))
    return next((name.removeprefix(KEY_SUBPROTOCOL) for name in offered), None)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern.lower() or (pattern.startswith("*.") and name.endswith(pattern[1:].lower()))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _refusal(error: MerError, scope: Scope) -> ASGIApp:
    response = problem_response(status_of(error), Problem.of(error), scope, close=True)
    if error.code == Code.NO_KEY:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateError):
        response.headers["Retry-After"] = str(error.wait_s)
    return response


def _where(scope: Scope) -> str:
    return f"{scope.get('method', WEBSOCKET)} {scope['path']}"


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
