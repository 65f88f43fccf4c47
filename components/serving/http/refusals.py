"""Every error of a request as a `Problem`."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from components.contracts.codes import Code
from components.contracts.errors import MerError
from components.serving.answers.schemas import Problem, ProblemDetail
from components.serving.http.problems import problem_response, request_id_of, status_of

MAX_SHOWN = 60


def add_refusals(app: FastAPI) -> None:
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


def _log_defect(request: Request, error: Exception) -> None:
    """Where it happened and in which request; not the message, which may quote a file's name or its words."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    logging.getLogger(__name__).error("request %s: %s\n%s", request_id_of(request.scope), type(error).__name__, trace)
