"""The HTTP surface: routes, status codes and the page. FastAPI only; a `Service` computes the answers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from components.contracts.codes import Code
from components.contracts.errors import DataError, MediaError, MerError, UnavailableError
from components.serving.schemas import Answer, Problem, ProblemDetail, ServedVersion
from components.serving.service import Service
from components.serving.uploads import receive

PAGE = Path(__file__).parent / "page" / "index.html"
HTTP_BAD_REQUEST = 400
HTTP_TOO_LARGE = 413
HTTP_UNSUPPORTED = 415
HTTP_UNPROCESSABLE = 422
HTTP_INTERNAL = 500
HTTP_UNAVAILABLE = 503

# First by the error's code, then by its class, the most specific class first.
STATUS_BY_CODE = {
    Code.BAD_REQUEST: HTTP_BAD_REQUEST,
    Code.BAD_TEXT: HTTP_BAD_REQUEST,
    Code.BAD_WORDS: HTTP_BAD_REQUEST,
    Code.EMPTY_FILE: HTTP_BAD_REQUEST,
    Code.TOO_LARGE: HTTP_TOO_LARGE,
    Code.TOO_LONG: HTTP_TOO_LARGE,
    Code.LFS_POINTER: HTTP_UNSUPPORTED,
    Code.UNSUPPORTED_MEDIA: HTTP_UNSUPPORTED,
}
STATUS_BY_CLASS: tuple[tuple[type[MerError], int], ...] = (
    (MediaError, HTTP_UNPROCESSABLE),
    (DataError, HTTP_UNPROCESSABLE),
    (UnavailableError, HTTP_UNAVAILABLE),
)

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
_PROBLEMS: dict[int | str, dict[str, object]] = {
    HTTP_BAD_REQUEST: {"model": Problem, "description": "The request is malformed or the file is empty."},
    HTTP_TOO_LARGE: {"model": Problem, "description": "The file is over the limit."},
    HTTP_UNSUPPORTED: {"model": Problem, "description": "The file is not a media file."},
    HTTP_UNPROCESSABLE: {"model": Problem, "description": "The clip cannot be decoded."},
    HTTP_UNAVAILABLE: {"model": Problem, "description": "No version is loaded, or the queue is full."},
}


def status_of(error: MerError) -> int:
    """The HTTP status of an error of the project's tree."""
    if error.code in STATUS_BY_CODE:
        return STATUS_BY_CODE[error.code]
    return next((status for kind, status in STATUS_BY_CLASS if isinstance(error, kind)), HTTP_INTERNAL)


def create_app(service: Service) -> FastAPI:
    """The application around one replica's service."""
    app = FastAPI(title="mer", description="The emotions that a person in a clip shows, moment by moment.", version="1")
    page = PAGE.read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/healthz", summary="Is this replica alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Can this replica answer?", responses=_only(HTTP_UNAVAILABLE))
    async def readyz() -> dict[str, str]:
        return {"status": "ready", "version": service.current().model.version}

    @app.get("/v1/version", summary="Which version is in service?", responses=_only(HTTP_UNAVAILABLE))
    async def version() -> ServedVersion:
        return service.served_version()

    @app.post(
        "/v1/predict",
        summary="Which emotions does the person in this clip show?",
        response_model=Answer,
        responses=_PROBLEMS,
        openapi_extra=_PREDICT_BODY,
    )
    async def predict(request: Request) -> Response:
        predictor = service.current()
        content_type = request.headers.get("content-type", "")
        upload = await receive(request.stream(), content_type, max_clip_bytes=service.limits.max_bytes)
        with upload:
            # In a thread, so that health checks and other requests go on while a clip is decoded.
            answer = await asyncio.to_thread(service.predict, upload, predictor)
        return Response(answer.to_json(), media_type="application/json")

    @app.exception_handler(MerError)
    async def known(request: Request, error: MerError) -> JSONResponse:
        status = status_of(error)
        if status >= HTTP_INTERNAL and status != HTTP_UNAVAILABLE:
            logging.getLogger(__name__).error("%s %s: %s", request.method, request.url.path, error)
        return _problem(status, Problem.of(error))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        detail = ProblemDetail(code=Code.HTTP, what=str(error.detail), where=f"{request.method} {request.url.path}")
        return _problem(error.status_code, Problem(error=detail))

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        logging.getLogger(__name__).error("%s %s", request.method, request.url.path, exc_info=error)
        detail = ProblemDetail(
            code=Code.INTERNAL,
            what="the service failed on this request",
            where=f"{request.method} {request.url.path}",
            seen=type(error).__name__,
            remedy="The replica's log has the trace.",
        )
        return _problem(HTTP_INTERNAL, Problem(error=detail))

    return app


def _only(status: int) -> dict[int | str, dict[str, object]]:
    return {status: _PROBLEMS[status]}


def _problem(status: int, problem: Problem) -> JSONResponse:
    headers = {"Retry-After": "5"} if status == HTTP_UNAVAILABLE else None
    return JSONResponse(problem.model_dump(), status_code=status, headers=headers)
