"""Errors as HTTP responses: the status of each, and its `Problem` as the body."""

from __future__ import annotations

from http import HTTPStatus

from fastapi.responses import JSONResponse
from starlette.types import Scope

from components.contracts.codes import Code
from components.contracts.errors import DataError, MediaError, MerError, UnavailableError
from components.serving.answers.schemas import Problem

RETRY_AFTER_S = 5
CODE_HEADER = "x-error-code"
REQUEST_ID = b"x-request-id"
IDEMPOTENCY = b"idempotency-key"

# First by the error's code, then by its class, the most specific class first.
STATUS_BY_CODE: dict[str, HTTPStatus] = {
    Code.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    Code.BAD_TEXT: HTTPStatus.BAD_REQUEST,
    Code.BAD_WORDS: HTTPStatus.BAD_REQUEST,
    Code.EMPTY_FILE: HTTPStatus.BAD_REQUEST,
    Code.SLOW_UPLOAD: HTTPStatus.REQUEST_TIMEOUT,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.TOO_LONG: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.LFS_POINTER: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.UNSUPPORTED_MEDIA: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    Code.NO_KEY: HTTPStatus.UNAUTHORIZED,
    Code.BAD_SIGNATURE: HTTPStatus.UNAUTHORIZED,
    Code.OLD_MESSAGE: HTTPStatus.UNAUTHORIZED,
    Code.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Code.WRONG_ORIGIN: HTTPStatus.FORBIDDEN,
    Code.WRONG_HOST: HTTPStatus.MISDIRECTED_REQUEST,
    Code.RATE_LIMIT: HTTPStatus.TOO_MANY_REQUESTS,
    Code.NO_ROOM: HTTPStatus.INSUFFICIENT_STORAGE,
    Code.NO_STREAM: HTTPStatus.NOT_FOUND,
    Code.NO_BATCH: HTTPStatus.NOT_FOUND,
    Code.UNFINISHED: HTTPStatus.CONFLICT,
}
STATUS_BY_CLASS: tuple[tuple[type[MerError], HTTPStatus], ...] = (
    (MediaError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DataError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
# The same request may succeed later.
FOR_NOW = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.INSUFFICIENT_STORAGE,
    }
)
PROBLEMS: dict[int | str, dict[str, object]] = {
    int(status): {"model": Problem, "description": description}
    for status, description in {
        HTTPStatus.BAD_REQUEST: "The request is malformed or the file is empty.",
        HTTPStatus.UNAUTHORIZED: "The request has no API key that counts.",
        HTTPStatus.FORBIDDEN: "The API key is for something else, or a page of a different origin asks.",
        HTTPStatus.NOT_ACCEPTABLE: "`Accept` names no form that an answer has.",
        HTTPStatus.REQUEST_TIMEOUT: "The request arrives too slowly, or the service took too long.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The file, the clip or its transcript is over the limit.",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The file is not a media file.",
        HTTPStatus.UNPROCESSABLE_ENTITY: "The clip cannot be decoded.",
        HTTPStatus.MISDIRECTED_REQUEST: "The service does not have this host name.",
        HTTPStatus.TOO_MANY_REQUESTS: "Too many uploads at once, or too many requests of this API key.",
        HTTPStatus.INTERNAL_SERVER_ERROR: "A defect of the service; its log has the trace.",
        HTTPStatus.SERVICE_UNAVAILABLE: "No version is loaded, or the queue is full.",
        HTTPStatus.INSUFFICIENT_STORAGE: "The disk of the service is full.",
    }.items()
}


def status_of(error: MerError) -> int:
    """The HTTP status of an error of the project's tree."""
    if error.code in STATUS_BY_CODE:
        return STATUS_BY_CODE[error.code]
    by_class = (status for kind, status in STATUS_BY_CLASS if isinstance(error, kind))
    return next(by_class, HTTPStatus.INTERNAL_SERVER_ERROR)


def request_id_of(scope: Scope) -> str | None:
    """The id of a request; None where nothing has given it one."""
    return next((value.decode("ascii", "replace") for name, value in scope["headers"] if name == REQUEST_ID), None)


def problem_response(status: int, problem: Problem, scope: Scope, *, close: bool = False) -> JSONResponse:
    """The response to a request; with `close` the connection ends with it, as where a body was not read to its end."""
    body = problem.model_copy(update={"request_id": request_id_of(scope)})
    headers = {CODE_HEADER: problem.error.code}
    if status in FOR_NOW:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if close:
        headers["Connection"] = "close"
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)
