"""Jobs over HTTP: a request with many clips, and what becomes of it."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from components.contracts.config import Serving
from components.serving.answers.schemas import Answer, Problem
from components.serving.batch.schemas import Batch, BatchState
from components.serving.http.access import needed_scope
from components.serving.http.admission import Admission
from components.serving.http.api_keys import Scope as KeyScope
from components.serving.http.app import create_app
from components.serving.http.gateway import Gateway
from components.serving.http.observed import BATCH, KEY, route_of
from components.serving.http.problems import IDEMPOTENCY
from components.serving.service import BatchSettings, Service
from mer.client import Client, RefusedError
from tests.serving import media

SOON_S = 60.0
SECRET = {"clips": [{"path": "/etc/passwd"}]}


@pytest.fixture
def batch_service(service: Service, tmp_path: Path) -> Iterator[Service]:
    """The session's service, with a folder for jobs and one whose files they may name."""
    (tmp_path / "films").mkdir()
    settings = service.settings
    own = BatchSettings(folder=tmp_path / "jobs", clips=3, sources=(str(tmp_path / "films"),))
    service.settings = replace(settings, batches=own)
    yield service
    service.settings = settings


def owned(service: Service, owner: str) -> Any:
    """The application as a request of this key reaches it; nothing works on jobs, since it is never started."""
    app = create_app(service)

    async def of_owner(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, KEY: owner}, receive, send)

    return of_owner


def called(
    service: Service, call: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]], owner: str = "k"
) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(owned(service, owner), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await call(client)

    return asyncio.run(run())


def posted(service: Service, *clips: tuple[str, bytes], job: object = None, **headers: str) -> httpx.Response:
    files: list[Any] = [("clip", clip) for clip in clips]
    data = {} if job is None else {"job": json.dumps(job)}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return called(service, lambda client: client.post(BATCH, files=files, data=data, headers=sent))


@pytest.fixture
def at_work(batch_service: Service) -> Iterator[str]:
    """The address of the service behind the gateway, with its worker."""
    serving = Serving(max_batch_clips=3)
    server = uvicorn.Server(
        uvicorn.Config(Gateway(create_app(batch_service), serving), port=0, log_level="error", lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)


def test_clips_of_a_request_and_of_the_service_are_judged_each_with_its_words(
    at_work: str, batch_service: Service, clip_path: Path, tmp_path: Path
) -> None:
    film = media.video(tmp_path / "films" / "film.mp4", seconds=0.6, side_px=64)
    broken = tmp_path / "broken.mp4"
    broken.write_text("not a clip\n")
    asked: list[dict[str, Any]] = [
        {"clip": clip_path.name, "name": "first", "transcript": "what a day"},
        {"clip": broken.name},
        {"path": str(film)},
    ]
    with Client(at_work) as client:
        job = client.predict_batch([clip_path, broken], clips=asked)
        assert job.clips == 3
        result = client.batch_result(job.id, wait_s=SOON_S)
        clips = pd.read_parquet(io.BytesIO(result))
        assert clips["clip"].tolist() == ["first", "broken.mp4", str(film)]
        assert clips["error"].tolist() == [None, "unsupported-media", None]
        alone = client.predict(clip_path, transcript="what a day")
        assert (clips["emotion"][0], clips["confidence"][0]) == (alone.emotion, pytest.approx(alone.confidence))
        assert "text" in clips["modalities"][0].split("+")
        moments = pd.read_parquet(io.BytesIO(client.batch_result(job.id, table="moments")))
        assert set(moments["clip"]) == {"first", str(film)}
        status = client.batch(job.id)
        assert (status.state, status.answered, status.failed) == (BatchState.FINISHED, 2, 1)
        client.delete_batch(job.id)
        with pytest.raises(RefusedError, match="no such job") as gone:
            client.batch(job.id)
    assert (gone.value.status, gone.value.code) == (HTTPStatus.NOT_FOUND, "no-batch")
    folder = batch_service.settings.batches.folder
    assert folder is not None
    assert list(folder.iterdir()) == []
    assert list(batch_service.uploads.path.glob("mer-batch-*")) == []


def test_a_request_is_answered_while_a_job_has_many_clips(at_work: str, clip_path: Path) -> None:
    with Client(at_work) as client:
        job = client.predict_batch([clip_path], clips=[{"clip": "clip.mp4", "name": str(n)} for n in range(3)])
        assert isinstance(client.predict(clip_path), Answer)
        client.delete_batch(job.id)


def test_work_on_jobs_yields_to_requests() -> None:
    async def run() -> list[str]:
        admission, order = Admission(at_once=1, waiting=4), []

        async def job() -> None:
            async with admission.left_over():
                order.append("job")

        with admission.waiting():
            waiting = asyncio.create_task(job())
            await asyncio.sleep(0.5)
            order.append("request")
        await waiting
        return order

    assert asyncio.run(run()) == ["request", "job"]


def test_a_request_for_a_job_is_checked_before_it_is_taken(
    batch_service: Service, clip_path: Path, tmp_path: Path
) -> None:
    clip = ("a.mp4", clip_path.read_bytes())
    (tmp_path / "films" / "link.mp4").symlink_to(clip_path)
    refused: list[tuple[httpx.Response, int, str]] = [
        (posted(batch_service, clip, job={"clips": [{"clip": "b.mp4"}]}), 400, "no such file"),
        (posted(batch_service, clip, job={"clips": []}), 400, "at least 1"),
        (posted(batch_service, clip, job={"clips": [{"clip": "a.mp4", "transkript": "x"}]}), 400, "Extra"),
        (posted(batch_service, clip, job={"clips": [{"clip": "a.mp4", "path": "/a"}]}), 400, "either `clip`"),
        (posted(batch_service, clip, job={"clips": [{"clip": "a.mp4"}] * 2}), 400, "same name"),
        (posted(batch_service, clip, ("b.mp4", b"x"), job={"clips": [{"clip": "a.mp4"}]}), 400, "no clip names"),
        (posted(batch_service, clip, clip), 400, "sent twice"),
        (posted(batch_service, *[(f"{n}.mp4", b"x") for n in range(4)]), 413, "too many clips"),
        (posted(batch_service, ("a.mp4", b"x" * 300_000)), 413, "too large"),
        (posted(batch_service, clip, idempotency_key="two words"), 400, "not a key"),
        (
            called(batch_service, lambda client: client.post(BATCH, json={"clips": [{"path": "/etc/passwd"}]})),
            403,
            "may",
        ),
        (
            called(
                batch_service,
                lambda client: client.post(BATCH, json={"clips": [{"path": str(tmp_path / "films" / "link.mp4")}]}),
            ),
            403,
            "may not read",
        ),
        (called(batch_service, lambda client: client.post(BATCH, content=b"[" * 10_000)), 400, "not a form"),
        (
            called(
                batch_service,
                lambda client: client.post(BATCH, content=b"[" * 10_000, headers={"content-type": "application/json"}),
            ),
            400,
            "",
        ),
    ]
    for response, status, what in refused:
        assert response.status_code == status, response.text
        assert what in Problem.model_validate(response.json()).error.what
    folder = batch_service.settings.batches.folder
    assert folder is not None
    assert list(folder.iterdir()) == []


def test_the_same_request_again_makes_no_second_job(batch_service: Service, clip_path: Path) -> None:
    clip = ("a.mp4", clip_path.read_bytes())
    first = posted(batch_service, clip, idempotency_key="monday")
    again = posted(batch_service, clip, idempotency_key="monday")
    assert first.status_code == again.status_code == HTTPStatus.ACCEPTED
    assert first.json() == again.json()
    assert first.headers["location"] == f"{BATCH}/{first.json()['id']}"
    other = posted(batch_service, ("a.mp4", b"something else"), idempotency_key="monday")
    assert other.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert Problem.model_validate(other.json()).error.code == "key-reused"
    early = called(batch_service, lambda client: client.get(f"{BATCH}/{first.json()['id']}/result"))
    assert early.status_code == HTTPStatus.CONFLICT
    assert "retry-after" in early.headers
    stranger = called(batch_service, lambda client: client.get(f"{BATCH}/{first.json()['id']}"), owner="other")
    assert stranger.status_code == HTTPStatus.NOT_FOUND


def test_the_gateway_gives_a_request_for_a_job_a_key_so_that_another_try_makes_no_second_job() -> None:
    seen: list[bytes] = []

    async def dies(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"])[IDEMPOTENCY])
        await receive()

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Gateway(dies, Serving()))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(BATCH, content=b"x")

    assert asyncio.run(run()).status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert len(seen) == 2
    assert len(set(seen)) == 1


def test_addresses_of_jobs_are_one_route_and_need_a_key() -> None:
    for path in (BATCH, f"{BATCH}/{'0' * 32}", f"{BATCH}/docs", f"{BATCH}/{'0' * 32}/result", f"/mer{BATCH}/metrics"):
        assert route_of(path) == BATCH
        assert needed_scope(path) == KeyScope.PREDICT


def test_the_document_describes_a_job(batch_service: Service, service: Service) -> None:
    paths = create_app(batch_service).openapi()["paths"]
    body = paths[BATCH]["post"]["requestBody"]["content"]
    clip = body["application/json"]["schema"]["properties"]["clips"]["items"]["properties"]
    assert {"clip", "path", "transcript", "words", "physio"} <= set(clip)
    for path, method, statuses in (
        (BATCH, "post", {"202", "413", "429", "507"}),
        (f"{BATCH}/{{job}}", "get", {"200", "404"}),
        (f"{BATCH}/{{job}}", "delete", {"204", "404"}),
        (f"{BATCH}/{{job}}/result", "get", {"200", "404", "409"}),
    ):
        assert statuses <= set(paths[path][method]["responses"])
        assert paths[path][method]["security"] == [{"API key": []}]


def test_a_service_without_a_folder_for_jobs_says_so(service: Service) -> None:
    refused = posted(service, ("a.mp4", b"x"))
    assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "takes no jobs" in Problem.model_validate(refused.json()).error.what


def test_a_status_is_read_by_the_client(batch_service: Service, clip_path: Path) -> None:
    created = Batch.model_validate(posted(batch_service, ("a.mp4", clip_path.read_bytes())).json())
    assert (created.state, created.clips, created.answered, created.finished_at) == (BatchState.WAITING, 1, 0, None)
