"""Who may ask what, on the middlewares in front of a small application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.middleware import Middleware

from components.contracts.config import Serving
from components.contracts.errors import ConfigError
from components.serving.http import gateway
from components.serving.http.access import Access, is_loopback
from components.serving.http.api_keys import FILE_VARIABLE, KeyFile, Scope
from components.serving.http.gateway import VARIABLE, middlewares
from components.serving.http.observed import LOG_VARIABLE

HERE, ELSEWHERE = "127.0.0.1", "203.0.113.7"
Client = httpx.AsyncClient


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"of Serve")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    file = KeyFile(tmp_path / "keys.json")
    monkeypatch.setenv(FILE_VARIABLE, str(file.path))
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "requests.jsonl"))
    return file


def asked(
    call: Callable[[Client], Awaitable[Any]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    client: str = ELSEWHERE,
    app: Any = hello,
    **settings: Any,
) -> Any:
    """What a client at an address gets from the whole chain of middlewares, built as a proxy of Serve does."""
    monkeypatch.setenv(VARIABLE, Serving(**settings).model_dump_json())
    for middleware in middlewares():
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)

    async def run() -> Any:
        transport = httpx.ASGITransport(app, client=(client, 5), raise_app_exceptions=False)
        async with Client(transport=transport, base_url="http://localhost:8000") as session:
            return await call(session)

    return asyncio.run(run())


def get(path: str, monkeypatch: pytest.MonkeyPatch, key: str = "", **given: Any) -> Any:
    headers = {**given.pop("headers", {}), **({"Authorization": f"Bearer {key}"} if key else {})}
    return asked(lambda session: session.get(path, headers=headers), monkeypatch, **given)


def outcome(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.headers.get("x-error-code")


def test_a_key_is_for_what_it_was_made_for_until_it_is_revoked(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    _, app = keys.create("app", scopes=[Scope.PREDICT])
    _, prometheus = keys.create("prometheus", scopes=[Scope.ADMIN])
    assert app not in keys.path.read_text()
    assert keys.path.stat().st_mode & 0o077 == 0
    for path, key, expected in (
        ("/v1/predict", "", (401, "no-key")),
        ("/v1/predict", "mer_guess", (401, "no-key")),
        ("/v1/predict", app, (200, None)),
        ("/v1/predict", prometheus, (403, "not-allowed")),
        ("/metrics", "", (401, "no-key")),
        ("/metrics", app, (403, "not-allowed")),
        ("/metrics", prometheus, (200, None)),
        ("/v1/unheard-of", "", (401, "no-key")),
        ("/under/v1/predict", "", (401, "no-key")),
        ("/", "", (200, None)),
        ("/healthz", "", (200, None)),
        ("/healthz", "mer_guess", (401, "no-key")),
        ("/v1/version", "", (200, None)),
        ("/static-offline-docs/swagger-ui.css", "", (200, None)),
    ):
        assert (path, outcome(get(path, monkeypatch, key))) == (path, expected)
    refused = get("/v1/predict", monkeypatch)
    assert (refused.headers["www-authenticate"], refused.headers["connection"]) == ("Bearer", "close")
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    keys.revoke("app")
    assert outcome(get("/v1/predict", monkeypatch, app)) == (401, "no-key")


def test_on_the_machine_itself_a_key_is_needed_where_the_configuration_asks_for_it(
    keys: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in (HERE, "::1", "::ffff:127.0.0.1"):
        assert get("/v1/predict", monkeypatch, client=client).status_code == 200
        assert outcome(get("/v1/predict", monkeypatch, client=client, require_key=True)) == (401, "no-key")
    assert get("/metrics", monkeypatch, client=HERE).status_code == 200
    keys.path.write_text("{")
    assert outcome(get("/v1/predict", monkeypatch, "mer_guess")) == (500, "config")
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "mer.example.org", "")] == [False] * 5


def test_limits_are_those_of_each_key(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    _, often = keys.create("often", scopes=[Scope.PREDICT], rate="2/year")
    _, other = keys.create("other", scopes=[Scope.PREDICT], rate="2/year")
    _, single = keys.create("single", scopes=[Scope.PREDICT], at_once=1)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        await hello(scope, receive, send)

    async def all_of_them(session: Client) -> list[httpx.Response]:
        async def one(key: str) -> httpx.Response:
            return await session.get("/v1/predict", headers={"Authorization": f"Bearer {key}"})

        responses = [await one(key) for key in (often, often, often, other)]
        return [*responses, *await asyncio.gather(one(single), one(single)), await one(single)]

    responses = asked(all_of_them, monkeypatch, app=slow)
    ok = (200, None)
    assert [outcome(response) for response in responses] == [
        *(ok, ok, (429, "rate-limit"), ok),
        *(ok, (429, "too-many"), ok),
    ]
    assert int(responses[2].headers["retry-after"]) >= 1


def test_a_stranger_s_page_reaches_nothing(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def by(host: str = "localhost:8000", origin: str = "", **given: Any) -> tuple[int, str | None]:
        headers = {"Host": host, **({"Origin": origin} if origin else {})}
        return outcome(get("/v1/version", monkeypatch, headers=headers, **{"client": HERE, **given}))

    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "mer.localhost", "10.0.0.4"):
        assert (host, by(host)) == (host, (200, None))
    for host in ("evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example"):
        assert (host, by(host)) == (host, (421, "wrong-host"))
    names = ("mer.example.org", "*.example.net")
    assert by("mer.example.org", allowed_hosts=names) == by("a.example.net", allowed_hosts=names) == (200, None)
    assert by("example.net", client=ELSEWHERE, allowed_hosts=names) == (421, "wrong-host")
    assert by("mer.example.org", client=ELSEWHERE) == (200, None)

    assert by(origin="http://localhost:8000") == (200, None)
    for origin in ("https://evil.example", "http://localhost:9000", "null"):
        assert (origin, by(origin=origin)) == (origin, (403, "wrong-origin"))
    ours = "https://www.example.org"
    assert by(origin=ours, allowed_origins=(ours,)) == (200, None)


def test_the_browser_is_told_which_origins_may_ask(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = "https://www.example.org"
    ask = {"Origin": ours, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = asked(lambda session: session.options("/v1/predict", headers=ask), monkeypatch, allowed_origins=(ours,))
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, ours)
    refused = get("/v1/predict", monkeypatch, headers={"Origin": ours}, allowed_origins=(ours,))
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ours)


def test_a_line_of_the_log_names_the_key_and_nothing_of_the_request(
    keys: KeyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = keys.create("app", scopes=[Scope.PREDICT])
    for given, kept in (("of-mine.7", True), ("two words", False), ("x" * 65, False)):
        response = get("/v1/predict?who=anna", monkeypatch, secret, headers={"X-Request-Id": given})
        assert (response.headers.get_list("x-request-id") == [given]) is kept
        assert len(response.headers.get_list("x-request-id")) == 1
    get("/healthz", monkeypatch)
    get("/v1/predict/anna", monkeypatch)
    text = (tmp_path / "requests.jsonl").read_text()
    assert "anna" not in text
    assert secret not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["key"], line["route"], line["status"]) for line in lines] == [
        *[(key.id, "/v1/predict", 200)] * 3,
        (None, "other", 401),
    ]
    assert set(lines[0]) == {"at", "request_id", "key", "method", "route", "status", "code", "seconds"}


def test_keys_have_names_and_readable_limits(keys: KeyFile) -> None:
    keys.create("app", scopes=[Scope.PREDICT], rate="60/minute", at_once=4)
    for name, rate, message in (
        ("app", None, "there is a key of this name"),
        ("two words", None, "name"),
        ("other", "often", "rate"),
    ):
        with pytest.raises(ConfigError, match=message):
            keys.create(name, scopes=[Scope.PREDICT], rate=rate)
    with pytest.raises(ConfigError, match="Did you mean 'app'"):
        keys.revoke("apt")
    assert [key.name for key in KeyFile(keys.path).listed()] == ["app"]


def test_the_order_of_the_middlewares(keys: KeyFile) -> None:
    assert [middleware.cls for middleware in middlewares()][:2] == [gateway.Gateway, Access]
    assert isinstance(middlewares()[-1], Middleware)
