"""Messages to the receiver, and what it refuses."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.contracts.config import Params
from components.contracts.errors import AccessError, ConfigError, UnavailableError
from components.contracts.layout import Layout
from components.rollout import webhook, webhook_server
from components.rollout.webhook import (
    AT_ONCE,
    ID,
    MAX_AGE_S,
    MAX_BYTES,
    SIGNATURE,
    TIMESTAMP,
    Webhook,
    check,
    secret_of,
    sign,
    signed_headers,
)
from components.rollout.webhook_server import listening
from components.serving.answers.schemas import Problem
from pipelines.commands.service.woken import listening_at, nudge

SECRET = "a secret of the tests"
BODY = b'{"entity": "model_version_alias", "action": "created"}'
NOW = 1_790_000_000.0


class Receiver:
    """The application with a clock that stands, asked without sockets."""

    def __init__(self) -> None:
        self.woken = 0
        self.now = NOW
        self.app = Webhook(SECRET, self.wake, clock=lambda: self.now)

    def wake(self) -> None:
        self.woken += 1

    def run(self, asked: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
                return await asked(client)

        return asyncio.run(run())

    def post(self, headers: dict[str, str], body: bytes = BODY) -> tuple[int, str | None]:
        response = self.run(lambda client: client.post("/", content=body, headers=headers))
        if response.status_code == 202:
            return 202, None
        problem = Problem.model_validate(response.json())
        assert problem.error.code == response.headers["x-error-code"]
        return response.status_code, problem.error.code


def test_a_signed_message_wakes_once_however_often_it_comes() -> None:
    receiver = Receiver()
    first, second = (signed_headers(BODY, SECRET, now=NOW) for _ in range(2))
    assert [receiver.post(headers) for headers in (first, first, second)] == [(202, None)] * 3
    assert receiver.woken == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({SIGNATURE: ""}, "bad-signature"),
        ({SIGNATURE: "v1,AAAA"}, "bad-signature"),
        ({SIGNATURE: "v1,\xe9"}, "bad-signature"),
        ({ID: "a different one"}, "bad-signature"),
        ({ID: ""}, "bad-signature"),
        ({TIMESTAMP: f"{NOW + 1:.0f}"}, "bad-signature"),
    ],
)
def test_whatever_was_changed_on_the_way_is_refused(change: dict[str, str], code: str) -> None:
    receiver = Receiver()
    headers = {
        name: value.encode("latin-1") for name, value in {**signed_headers(BODY, SECRET, now=NOW), **change}.items()
    }
    assert receiver.post(headers) == (401, code)  # type: ignore[arg-type]
    assert receiver.post(signed_headers(BODY, SECRET, now=NOW), BODY + b" ") == (401, code)
    assert receiver.post(signed_headers(BODY, "a different secret", now=NOW)) == (401, code)
    assert receiver.woken == 0


def test_a_recorded_message_is_refused_once_it_is_old_and_wakes_nobody_before() -> None:
    receiver = Receiver()
    recorded = signed_headers(BODY, SECRET, now=NOW)
    assert receiver.post(recorded) == (202, None)
    for later, expected in (
        (MAX_AGE_S - 1, (202, None)),
        (MAX_AGE_S + 1, (401, "old-message")),
        (1e9, (401, "old-message")),
    ):
        receiver.now = NOW + later
        assert receiver.post(recorded) == expected
    assert receiver.woken == 1
    ahead = signed_headers(BODY, SECRET, now=receiver.now + MAX_AGE_S + 1)
    assert receiver.post(ahead) == (401, "old-message")


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "9" * 5000, "1e9"])
def test_a_timestamp_that_is_none_is_refused_also_when_it_is_signed(timestamp: str) -> None:
    headers = {ID: "1", TIMESTAMP: timestamp, SIGNATURE: sign("1", timestamp, BODY, SECRET)}
    with pytest.raises(AccessError, match="too old"):
        check(headers, BODY, SECRET, now=NOW)


def test_strangers_who_flood_it_are_told_so_and_never_keep_mlflow_out() -> None:
    receiver = Receiver()
    unsigned = [receiver.post({ID: "1", TIMESTAMP: "1", SIGNATURE: "v1,AAAA"}) for _ in range(40)]
    assert unsigned == [(401, "bad-signature")] * 30 + [(429, "rate-limit")] * 10
    assert receiver.post(signed_headers(BODY, SECRET, now=NOW)) == (202, None)
    many = [receiver.post(signed_headers(BODY, SECRET, now=NOW)) for _ in range(25)]
    assert many == [(202, None)] * 19 + [(429, "rate-limit")] * 6
    assert receiver.woken == 20


def test_a_long_body_and_a_question_are_refused() -> None:
    receiver = Receiver()
    long = b"x" * (MAX_BYTES + 1)
    assert receiver.post(signed_headers(long, SECRET, now=NOW), long) == (413, "too-large")
    response = receiver.run(lambda client: client.get("/"))
    assert (response.status_code, response.json()["error"]["code"]) == (405, "http")


def test_messages_that_do_not_arrive_hold_few_places_for_a_short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "READ_S", 0.2)
    receiver = Receiver()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async def flood(client: httpx.AsyncClient) -> list[tuple[int, str]]:
        posts = [client.post("/", content=slow()) for _ in range(AT_ONCE + 3)]
        return [(response.status_code, response.headers["x-error-code"]) for response in await asyncio.gather(*posts)]

    answers = receiver.run(flood)
    assert sorted(answers) == [(408, "slow-upload")] * AT_ONCE + [(429, "too-many")] * 3
    assert receiver.post(signed_headers(BODY, SECRET, now=NOW)) == (202, None)


def test_over_sockets_a_connection_that_sends_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_server, "CONNECTION_S", 0.3)
    monkeypatch.setattr(webhook_server, "MAX_CONNECTIONS", 3)
    woken: list[bool] = []
    with listening(SECRET, lambda: woken.append(True), host="127.0.0.1", port=0) as url:
        port = int(url.rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(6)]
        assert [connection.recv(1) for connection in idle] == [b""] * 6  # those over the limit at once
        for connection in idle:
            connection.close()
        headers = signed_headers(BODY, SECRET, now=time.time())
        assert httpx.post(url, content=BODY, headers=headers, trust_env=False).status_code == 202
        with (
            pytest.raises(UnavailableError, match="port of the webhook"),
            listening("", print, host="127.0.0.1", port=port),
        ):
            pass
    assert woken == [True]


def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(webhook.SECRET_FILE_VARIABLE, raising=False)
    own = tmp_path / ".mer" / "webhook-secret"
    secret = secret_of(own)
    assert (len(secret), secret_of(own), own.stat().st_mode & 0o077) == (64, secret, 0)
    given = tmp_path / "given"
    given.write_text("short\n")
    monkeypatch.setenv(webhook.SECRET_FILE_VARIABLE, str(given))
    with pytest.raises(ConfigError, match="too short"):
        secret_of(own)
    given.write_text(f"{SECRET}\n")
    assert secret_of(own) == SECRET
    given.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        secret_of(own)


def test_a_command_wakes_the_reconciler_of_its_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(webhook.SECRET_FILE_VARIABLE, raising=False)
    layout, woken = Layout(tmp_path), []
    with listening(secret_of(layout.webhook_secret), lambda: woken.append(True), host="127.0.0.1", port=0) as url:
        port = int(url.rpartition(":")[2])
        params = Params.model_validate({"rollout": {"webhook_port": port}})
        nudge(params, layout)
        nudge(Params(), layout)  # it does not listen
    nudge(params, layout)  # nobody listens any more
    assert woken == [True]


def test_the_address_to_listen_at_may_be_given() -> None:
    rollout = listening_at(Params(), "0.0.0.0:5001").rollout
    assert (rollout.webhook_host, rollout.webhook_port) == ("0.0.0.0", 5001)
    assert listening_at(Params(), "[::1]:5001").rollout.webhook_host == "::1"
    for wrong in ("5001", ":5001", "0.0.0.0:", "0.0.0.0:http", "0.0.0.0:65536", "0.0.0.0:0"):
        with pytest.raises(ConfigError, match="HOST:PORT"):
            listening_at(Params(), wrong)
