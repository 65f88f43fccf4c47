"""The HTTP surface: routes, status codes and the page. FastAPI only; a `Service` computes the answers."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from components.contracts.codes import Code
from components.contracts.errors import MerError
from components.contracts.room import full_disk_named
from components.runtime.patience import Patience
from components.serving.answers.forms import MEDIA_TYPES, accepted
from components.serving.answers.schemas import (
    Answer,
    ClipPictures,
    ExampleClip,
    Problem,
    ProblemDetail,
    ServedModel,
    ServedVersion,
    Versions,
)
from components.serving.http import about
from components.serving.http.admission import Admission
from components.serving.http.batches import Batches
from components.serving.http.feature_body import MAX_BYTES, SAFETENSORS
from components.serving.http.mirror import Mirror
from components.serving.http.observed import CARD, EXAMPLE, FEATURES, METRICS, MODEL, PICTURES, STREAM, TERMS, VERSIONS
from components.serving.http.problems import PROBLEMS, problem_response, request_id_of, status_of
from components.serving.http.uploads import Upload, receive
from components.serving.metrics import CONTENT_TYPE, metrics
from components.serving.service import Service
from components.serving.trial import Mirrored

MAX_SHOWN = 60
MARKDOWN = "text/markdown"
WITHOUT_IT = "the version was registered without it"
Result = TypeVar("Result")
PAGE = Path(__file__).parents[1] / "page"
STYLE_LINK, SCRIPTS = '<link rel="stylesheet" href="page.css">', ("live.js", "faces.js", "page.js")
# Documents the key; what checks it stands before this application (`access.py`).
API_KEY = HTTPBearer(
    scheme_name="API key",
    description="Of `mer keys create`; not needed on the machine itself unless `serving.require_key`.",
    auto_error=False,
)
Why = Annotated[
    bool, Query(description="Whether episodes and transitions have what they rest on; it takes a little longer.")
]
_IN_EVERY_FORM: dict[str, object] = {
    "description": "The answer, in the form that `Accept` asks for: JSON, or its moments as a table, its episodes as "
    "subtitles, or text.",
    "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES if kind != "application/json"},
}
_PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["clip"],
                    "properties": {
                        "clip": {"type": "string", "format": "binary", "description": "A video or sound file."},
                        "transcript": {
                            "type": "string",
                            "description": "The spoken words: text, SubRip, WebVTT, TextGrid, or a recogniser's JSON.",
                        },
                        "words": {
                            "type": "string",
                            "description": 'Word times as JSON: [{"text", "start_s", "end_s"}, …] in order of time.',
                        },
                        "video_track": {"type": "integer", "minimum": 1, "description": "Which of several pictures."},
                        "audio_track": {"type": "integer", "minimum": 1, "description": "Which of several sounds."},
                        "physio": {
                            "type": "string",
                            "format": "binary",
                            "description": "Parquet with `time_s` (seconds) and one column per channel (ecg, eda, …).",
                        },
                    },
                }
            }
        },
    }
}
_CLIP_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["clip"],
                    "properties": {"clip": {"type": "string", "format": "binary", "description": "A video."}},
                }
            }
        },
    }
}
_FEATURES_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            SAFETENSORS: {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "Modality to its rows, one per step.",
                    "additionalProperties": {
                        "type": "array",
                        "items": {"type": ["array", "null"], "items": {"type": "number"}},
                    },
                }
            },
        },
    }
}


def create_app(service: Service) -> FastAPI:
    """The application around one replica's service."""
    admission = Admission(at_once=service.settings.at_once, waiting=service.settings.waiting)
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

    @app.get("/readyz", summary="Can this replica answer?", responses=_only(HTTPStatus.SERVICE_UNAVAILABLE))
    async def readyz() -> dict[str, str]:
        return {"status": "ready", "version": service.current().model.version}

    @app.get("/v1/version", summary="Which version is in service?", responses=_only(HTTPStatus.SERVICE_UNAVAILABLE))
    async def version() -> ServedVersion:
        return service.served_version()

    @app.post(
        "/v1/predict",
        summary="Which emotions does the person in this clip show?",
        response_model=Answer,
        responses={**PROBLEMS, 200: _IN_EVERY_FORM},
        openapi_extra=_PREDICT_BODY,
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
        responses={**PROBLEMS, 200: _IN_EVERY_FORM},
        openapi_extra=_FEATURES_BODY,
        dependencies=[Depends(API_KEY)],
    )
    async def predict_features(request: Request, why: Why = False) -> Response:
        kind, content_type = _accepted(request), request.headers.get("content-type", "")
        predictor, patience = service.current(), service.patience()
        with admission.waiting(), TemporaryDirectory(prefix="mer-features-", dir=service.uploads.path) as folder:
            body = Path(folder) / "sent"
            await _to_file(request, body, MAX_BYTES)
            async with admission.turn(patience):
                work = partial(service.predict_features, body, content_type, predictor, patience, why=why)
                answer = await _in_thread(work, patience)
        return Response(MEDIA_TYPES[kind](answer), media_type=kind)

    @app.post(
        PICTURES,
        summary="What does this clip show?",
        description="Two small pictures per second, at most 120, upright, for clients that cannot play the file.",
        responses=PROBLEMS,
        openapi_extra=_CLIP_BODY,
        dependencies=[Depends(API_KEY)],
    )
    async def pictures(request: Request) -> ClipPictures:
        predictor, patience = service.current(), service.patience()
        with admission.waiting(), await _received(request, service) as upload:
            async with admission.turn(patience):
                return await _in_thread(partial(service.pictures, upload, predictor, patience), patience)

    _add_descriptions(app, service)

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
        responses=_only(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN),
        dependencies=[Depends(API_KEY)],
    )
    def counts() -> Response:
        return Response(metrics().exposition(), media_type=CONTENT_TYPE)

    _add_refusals(app)
    return app


def _add_descriptions(app: FastAPI, service: Service) -> None:
    """The routes about the version in service and the others."""

    @app.get(MODEL, summary="What is the version in service?", responses=_asked(), dependencies=[Depends(API_KEY)])
    def model() -> ServedModel:
        return about.model(service)

    @app.get(
        CARD,
        summary="Its model card",
        response_class=PlainTextResponse,
        responses=_asked(),
        dependencies=[Depends(API_KEY)],
    )
    def card() -> Response:
        return _markdown(about.card(service.reference()))

    @app.get(
        TERMS,
        summary="Licence and consent of its data",
        response_class=PlainTextResponse,
        responses=_asked(),
        dependencies=[Depends(API_KEY)],
    )
    def terms() -> Response:
        return _markdown(about.terms(service.reference()))

    @app.get(EXAMPLE, summary="A clip to try it with", responses=_asked(), dependencies=[Depends(API_KEY)])
    def example() -> ExampleClip:
        clip = about.example(service)
        if clip is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, WITHOUT_IT)
        return clip

    @app.get(VERSIONS, summary="Which versions are there?", responses=_asked(), dependencies=[Depends(API_KEY)])
    def versions() -> Versions:
        return about.versions(service.reference())


def _add_refusals(app: FastAPI) -> None:
    """Every error as a `Problem`."""

    @app.exception_handler(MerError)
    async def known(request: Request, error: MerError) -> JSONResponse:
        status = status_of(error)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log_defect(request, error)
        return problem_response(status, Problem.of(error), request.scope)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        detail = ProblemDetail(
            code=Code.BAD_REQUEST,
            what=first["msg"],
            where=".".join(map(str, first["loc"])),
            seen=str(first.get("input"))[:MAX_SHOWN],
        )
        return problem_response(HTTPStatus.BAD_REQUEST, Problem(error=detail), request.scope)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        detail = ProblemDetail(code=Code.HTTP, what=str(error.detail), where=f"{request.method} {request.url.path}")
        return problem_response(error.status_code, Problem(error=detail), request.scope)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        _log_defect(request, error)
        detail = ProblemDetail(
            code=Code.INTERNAL,
            what="the service failed on this request",
            where=f"{request.method} {request.url.path}",
            seen=type(error).__name__,
            remedy="The replica's log has the trace.",
        )
        return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, Problem(error=detail), request.scope)


def whole_page() -> str:
    """The page with its style and script inside."""
    text = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    page = text["index.html"].replace(STYLE_LINK, f"<style>\n{text['page.css']}</style>")
    for name in SCRIPTS:
        page = page.replace(f'<script src="{name}"></script>', f"<script>\n{text[name]}</script>")
    return page


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


async def _in_thread(work_of: Callable[[], Result], patience: Patience) -> Result:
    """What is computed in a thread, so that health checks and other requests go on. A request that is cancelled
    (its client is gone, or Serve's time for it is over) ends its work and waits until that has ended."""
    work = asyncio.ensure_future(asyncio.to_thread(work_of))
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


def _markdown(text: str | None) -> Response:
    if text is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, WITHOUT_IT)
    return Response(text, media_type=MARKDOWN)


async def _to_file(request: Request, path: Path, most: int | None = None) -> None:
    """Writes the body, and no more than one byte over a limit: whoever reads it refuses that."""
    with full_disk_named(), path.open("wb") as file:
        async for block in request.stream():
            file.write(block if most is None else block[: max(0, most + 1 - file.tell())])


def _log_defect(request: Request, error: Exception) -> None:
    """Where it happened and in which request; not the message, which may quote a file's name or its words."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    logging.getLogger(__name__).error("request %s: %s\n%s", request_id_of(request.scope), type(error).__name__, trace)


def _asked() -> dict[int | str, dict[str, object]]:
    return _only(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE)


def _only(*statuses: int) -> dict[int | str, dict[str, object]]:
    return {status: PROBLEMS[status] for status in statuses}
