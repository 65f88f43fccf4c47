"""The client, against the application itself and against servers that answer otherwise."""

from __future__ import annotations

import asyncio
import json
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import mer.client
from components.contracts.config import Serving
from components.contracts.errors import UnavailableError
from components.serving.answers.schemas import KEY_VARIABLE, Answer
from components.serving.http.access import Access
from components.serving.http.api_keys import KeyFile, Scope
from components.serving.http.app import create_app
from components.serving.http.observed import Observed
from components.serving.service import Service, ServiceSettings
from mer.client import Client, RefusedError
from tests.serving.conftest import LIMITS


class InProcess(httpx.BaseTransport):
    """Requests to an application of this process."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def handled() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            body, headers = request.read(), request.headers
            async with httpx.AsyncClient(transport=transport) as client:
                response = await client.request(request.method, request.url, content=body, headers=headers)
            return httpx.Response(response.status_code, headers=response.headers, content=response.content)

        return asyncio.run(handled())


@pytest.fixture
def client(service: Service) -> Client:
    return Client("http://test", transport=InProcess(Observed(create_app(service))))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(mer.client.time, "sleep", waited.append)
    return waited


def test_answers_are_those_of_the_version(client: Client, service: Service, clip_path: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.json"
    words.write_text(json.dumps([{"text": "well", "start_s": 0.5, "end_s": 1.0}]))
    answer = client.predict(clip_path, words=words, why=True)
    assert isinstance(answer, Answer)
    assert answer.clip.name == clip_path.name
    assert answer.episodes[0].why is not None
    assert answer.episodes[0].why.spoken == "well"
    predictor = service.current()
    rows = {"face": np.zeros((4, predictor.bundle.transform.widths["face"]), np.float32)}
    rows["face"][1] = np.nan
    assert [moment.present for moment in client.predict_features(rows).timeline] == [
        ("face",),
        (),
        ("face",),
        ("face",),
    ]
    assert client.version() == service.served_version()
    assert client.model().version == client.version()
    assert client.ready()


def test_a_refusal_is_an_exception_that_says_what_the_service_said(
    client: Client, tmp_path: Path, waits: list[float]
) -> None:
    (tmp_path / "notes.mp4").write_text("I am a text.")
    with pytest.raises(RefusedError, match=r"notes\.mp4: this is a text file") as caught:
        client.predict(tmp_path / "notes.mp4", request_id="mine-1")
    refused = caught.value
    assert (refused.status, refused.code, refused.request_id) == (415, "unsupported-media", "mine-1")
    assert refused.problem.error.allowed is not None
    assert str(pickle.loads(pickle.dumps(refused))) == str(refused)
    assert waits == []


def test_a_refusal_for_now_is_tried_again_after_what_the_service_asks(
    service: Service, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = Service(
        ServiceSettings(cache=service.settings.cache, limits=LIMITS, golden_tolerance=1e-4, alias="champion")
    )
    waited: list[float] = []

    def loads(seconds: float) -> None:
        waited.append(seconds)
        starting.uploads = service.uploads  # of the version's child, which may read nothing else
        starting._predictor = service.current()

    monkeypatch.setattr(mer.client.time, "sleep", loads)
    client = Client("http://test", transport=InProcess(create_app(starting)))
    assert not client.ready()
    with pytest.raises(RefusedError) as refused:
        Client("http://test", patience_s=4.0, transport=InProcess(create_app(starting))).predict(clip_path)
    assert (refused.value.status, refused.value.code, waited) == (503, "no-version", [])
    assert client.predict(clip_path).clip.name == clip_path.name
    assert waited == [5.0]


def test_a_service_that_cannot_be_reached_is_waited_for(waits: list[float]) -> None:
    client = Client("http://127.0.0.1:9", patience_s=4.0)
    with pytest.raises(UnavailableError, match="mer serve"):
        client.version()
    assert waits == [0.5, 1.0, 2.0]
    assert not client.ready()


def test_a_key_is_sent_from_the_call_or_the_environment(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    _, secret = keys.create("app", scopes=[Scope.PREDICT])
    transport = InProcess(Access(create_app(service), Serving(require_key=True), keys))
    with pytest.raises(RefusedError) as refused:
        Client("http://localhost", transport=transport).model()
    assert (refused.value.status, refused.value.code) == (401, "no-key")
    with Client("http://localhost", key=secret, transport=transport) as client:
        assert client.model().version.version == "4"
    monkeypatch.setenv(KEY_VARIABLE, secret)
    assert Client("http://localhost", transport=transport).model().version.version == "4"


def test_what_is_not_the_service_is_named(waits: list[float]) -> None:
    async def other(request: Request) -> PlainTextResponse:
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        later = {"/v1/model": {"Retry-After": soon}}.get(request.url.path, {"Retry-After": "soon"})
        return PlainTextResponse(
            "a proxy", status_code=200 if request.url.path == "/v1/version" else 502, headers=later
        )

    client = Client(
        "http://test", patience_s=2.5, transport=InProcess(Starlette(routes=[Route("/{path:path}", other)]))
    )
    with pytest.raises(UnavailableError, match="not that of a service"):
        client.version()
    with pytest.raises(RefusedError, match="status 502") as refused:
        client.versions()
    assert (refused.value.code, waits) == ("http", [])
    with pytest.raises(RefusedError):
        client.model()
    assert 0 < sum(waits) <= 2.5
