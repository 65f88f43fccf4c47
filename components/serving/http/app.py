"""The HTTP surface: routes, status codes and the page. FastAPI only; a `Service` computes the answers."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi_offline import FastAPIOffline
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from components.contracts.room import full_disk_named
from components.runtime.patience import Patience
from components.serving.answers.forms import MEDIA_TYPES, accepted
from components.serving.answers.schemas import (
    Answer,
    ClipPictures,
    ServedVersion,
)
from components.serving.http.admission import Admission
from components.serving.http.batches import Batches
from components.serving.http.descriptions import add_descriptions
from components.serving.http.documented import (
    API_KEY,
    CLIP_BODY,
    FEATURES_BODY,
    IN_EVERY_FORM,
    PREDICT_BODY,
    Why,
    only,
)
from components.serving.http.feature_body import MAX_BYTES
from components.serving.http.mirror import Mirror
from components.serving.http.observed import FEATURES, METRICS, PICTURES, STREAM
from components.serving.http.problems import PROBLEMS, request_id_of
from components.serving.http.refusals import add_refusals
from components.serving.http.uploads import Upload, receive
from components.serving.http.whole_page import whole_page
from components.serving.metrics import CONTENT_TYPE, metrics
from components.serving.predictor import MOST_TOGETHER
from components.serving.service import Service
from components.serving.trial import Mirrored

Result = TypeVar("Result")
LIGHT_BYTES = 1 << 20  # of features that are judged together with others: twelve seconds of four wide modalities


def create_app(service: Service) -> FastAPI:
    """The application around one replica's service."""
    admission = Admission(at_once=service.settings.at_once, waiting=service.settings.waiting, light=MOST_TOGETHER)
    light = ThreadPoolExecutor(MOST_TOGETHER, thread_name_prefix="features")
    mirror = Mirror(admission, service.settings.wall_s)
    batches, page = Batches(service, admission), whole_page()
    app = FastAPIOffline(  # its pages of the documentation fetch nothing from elsewhere
        title="mer",
        description="The emotions that a person in a clip shows, moment by moment.",
        version="1",
        lifespan=batches.at_work,
        routes=batches.router(API_KEY).routes,
    )

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/healthz", summary="Is this replica alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Can this replica answer?", responses=only(HTTPStatus.SERVICE_UNAVAILABLE))
    async def readyz() -> dict[str, str]:
        return {"status": "ready", "version": service.current().model.version}

    @app.get("/v1/version", summary="Which version is in service?", responses=only(HTTPStatus.SERVICE_UNAVAILABLE))
    async def version() -> ServedVersion:
        return service.served_version()

    @app.post(
        "/v1/predict",
        summary="Which emotions does the person in this clip show?",
        response_model=Answer,
        responses={**PROBLEMS, 200: IN_EVERY_FORM},
        openapi_extra=PREDICT_BODY,
        dependencies=[Depends(API_KEY)],
    )
    async def predict(request: Request, why: Why = False) -> Response:
        kind = _accepted(request)
        predictor, contest, patience = service.current(), service.contest(), service.patience()
        later = None
        with admission.waiting(), ExitStack() as stack:
            upload = stack.enter_context(await _received(request, service))
            async with admission.turn(patience):
                if contest is None:
                    answer = await _in_thread(partial(service.predict, upload, predictor, patience, why=why), patience)
                else:
                    judge = partial(service.judge, upload, contest, _id_of(request), patience, why=why)
                    answer, later = await _mirrored(judge, patience, mirror, upload, stack)
        return Response(MEDIA_TYPES[kind](answer), media_type=kind, background=later)

    @app.post(
        FEATURES,
        summary="Which emotions do these features show?",
        description="Features as this version's encoders give them (`GET /v1/model` has fingerprints and widths), one "
        "row per step of its grid, NaN or null for a step that is not there.",
        response_model=Answer,
        responses={**PROBLEMS, 200: IN_EVERY_FORM},
        openapi_extra=FEATURES_BODY,
        dependencies=[Depends(API_KEY)],
    )
    async def predict_features(request: Request, why: Why = False) -> Response:
        kind, content_type = _accepted(request), request.headers.get("content-type", "")
        predictor, patience = service.current(), service.patience()
        with (
            admission.waiting(light=True),
            TemporaryDirectory(prefix="mer-features-", dir=service.uploads.path) as folder,
        ):
            body = Path(folder) / "sent"
            await _to_file(request, body, MAX_BYTES)
            small = body.stat().st_size <= LIGHT_BYTES and not why
            async with admission.turn(patience, light=small):
                work = partial(service.predict_features, body, content_type, predictor, patience, why=why)
                answer = await _in_thread(work, patience, light if small else None)
        return Response(MEDIA_TYPES[kind](answer), media_type=kind)

    @app.post(
        PICTURES,
        summary="What does this clip show?",
        description="Two small pictures per second, at most 120, upright, for clients that cannot play the file.",
        responses=PROBLEMS,
        openapi_extra=CLIP_BODY,
        dependencies=[Depends(API_KEY)],
    )
    async def pictures(request: Request) -> ClipPictures:
        predictor, patience = service.current(), service.patience()
        with admission.waiting(), await _received(request, service) as upload:
            async with admission.turn(patience):
                return await _in_thread(partial(service.pictures, upload, predictor, patience), patience)

    add_descriptions(app, service)

    @app.post(STREAM, include_in_schema=False)  # of the proxies alone: the gateway serves it as a WebSocket
    async def stream(request: Request) -> Response:
        predictor, patience = service.current(), service.patience()
        with admission.waiting(), TemporaryDirectory(prefix="mer-stream-", dir=service.uploads.path) as folder:
            sent = Path(folder) / "sent"
            await _to_file(request, sent)
            async with admission.turn(patience):
                reply = await _in_thread(partial(service.live, sent, predictor, patience), patience)
        return Response(reply, media_type="application/octet-stream")

    @app.get(
        METRICS,
        summary="What the service counts, for Prometheus",
        response_class=PlainTextResponse,
        responses=only(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN),
        dependencies=[Depends(API_KEY)],
    )
    def counts() -> Response:
        return Response(metrics().exposition(), media_type=CONTENT_TYPE)

    add_refusals(app)
    return app


async def _mirrored(
    judge: Callable[[], tuple[Answer, Mirrored | None]],
    patience: Patience,
    mirror: Mirror,
    upload: Upload,
    stack: ExitStack,
) -> tuple[Answer, BackgroundTask | None]:
    """An answer under a trial, and what is to be done once it was sent. An upload that the other side reads again is
    kept until then."""
    alone = mirror.alone
    answer, mirrored = await _in_thread(judge, patience)
    if mirrored is None:
        return answer, None
    mirrored.alone = alone and mirror.alone
    if mirrored.reading is None:
        stack.pop_all()
        mirrored.over = weakref.finalize(mirrored, upload.remove)
    return answer, BackgroundTask(mirror.offer, mirrored)


def _id_of(request: Request) -> str:
    return request_id_of(request.scope) or secrets.token_hex(8)


async def _in_thread(
    work_of: Callable[[], Result], patience: Patience, threads: ThreadPoolExecutor | None = None
) -> Result:
    """What is computed in a thread, so that health checks and other requests go on. A request that is cancelled
    (its client is gone, or Serve's time for it is over) ends its work and waits until that has ended."""
    context = copy_context()
    work = asyncio.get_running_loop().run_in_executor(threads, lambda: context.run(work_of))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        patience.give_up()
        await asyncio.wait([work])
        work.exception()  # read, so that asyncio does not report it
        raise


async def _received(request: Request, service: Service) -> Upload:
    """The clip that a form holds, and what comes with it."""
    return await receive(
        request.stream(),
        request.headers.get("content-type", ""),
        max_clip_bytes=service.limits.max_bytes,
        folder=service.uploads.path,
    )


def _accepted(request: Request) -> str:
    """The form of the answer; asked before a byte of the body is read."""
    kind = accepted(request.headers.get("accept", ""))
    if kind is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, f"an answer is one of {', '.join(MEDIA_TYPES)}")
    return kind


async def _to_file(request: Request, path: Path, most: int | None = None) -> None:
    """Writes the body, and no more than one byte over a limit: whoever reads it refuses that."""
    with full_disk_named(), path.open("wb") as file:
        async for block in request.stream():
            file.write(block if most is None else block[: max(0, most + 1 - file.tell())])
