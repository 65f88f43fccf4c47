"""The routes of jobs: many clips in one request, judged when there is time for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from pydantic import ValidationError

from components.contracts.codes import Code
from components.contracts.errors import DataError, MediaError
from components.contracts.fingerprint import file_sha256, fingerprint
from components.contracts.room import full_disk_named
from components.runtime.own_folder import OwnFolder
from components.serving.answers.schemas import Problem
from components.serving.batch.jobs import FILES as SENT
from components.serving.batch.jobs import Jobs
from components.serving.batch.schemas import Batch, BatchClip, BatchRequest
from components.serving.batch.worker import Worker, allowed
from components.serving.http.admission import Admission
from components.serving.http.observed import BATCH, KEY
from components.serving.http.problems import PROBLEMS
from components.serving.http.uploads import FILES, JOB, MAX_JOB_BYTES, OVERHEAD_BYTES, Upload, form_of_many, read_form
from components.serving.service import Service

PARQUET = "application/vnd.apache.parquet"
SHOWN = 60
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Chosen by the client, 128 visible ASCII characters at most: the same request sent again with it "
        "makes no second job.",
    ),
]
Table = Annotated[Literal["clips", "moments"], Query(description="One row per clip, or one per moment of all clips.")]


def _schema() -> dict[str, object]:
    """Of a job, in one piece: the document has names for the schemas of parameters alone."""
    schema = BatchRequest.model_json_schema()
    schema["properties"]["clips"]["items"] = schema.pop("$defs")[BatchClip.__name__]
    return schema


_SCHEMA = _schema()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _SCHEMA},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "clip": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "physio": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        JOB: _SCHEMA,
                    },
                }
            },
        },
    }
}
_OF_JOBS: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "There is no such job, or it belongs to a different API key."},
    409: {"model": Problem, "description": "The job is not finished."},
}
_RESULT: dict[str, object] = {
    "description": "The table, as Parquet.",
    "content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}},
}


class Batches:
    """The jobs of one replica.

    Args:
        service: of the replica.
        admission: its places.
    """

    def __init__(self, service: Service, admission: Admission) -> None:
        self._service = service
        settings = service.settings.batches
        self._jobs = Jobs(root=settings.folder, most=settings.jobs, keep_s=settings.keep_s)
        self._sources = tuple(map(Path, settings.sources))
        self._worker = Worker(service, self._jobs, admission, self._sources)

    def router(self, key: HTTPBearer) -> APIRouter:
        """Their routes; `key` documents the API key."""
        return _routes(self._service, self._jobs, self._sources, key)

    @asynccontextmanager
    async def at_work(self, _: FastAPI) -> AsyncIterator[None]:
        """Works on jobs as long as the application runs."""
        if self._service.settings.batches.folder is None:
            yield
            return
        working = asyncio.create_task(self._worker.run())
        yield
        working.cancel()
        await asyncio.wait([working])


def _routes(service: Service, jobs: Jobs, sources: tuple[Path, ...], key: HTTPBearer) -> APIRouter:
    router = APIRouter(dependencies=[Depends(key)])

    @router.post(
        BATCH,
        summary="Which emotions do the people in these clips show?",
        description="Takes a job and answers at once; its clips are judged while requests leave time for them. A "
        "multipart request has files (`clip`, repeated, with different names; `physio`) and may have `job`, which says "
        "what goes with each. JSON is `job` alone, for files of the service.",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Batch,
        responses=_problems(400, 401, 403, 408, 413, 415, 422, 429, 503, 507),
        openapi_extra=_BODY,
    )
    async def create(request: Request, response: Response, idempotency_key: Key = None) -> Batch:
        _check_key(idempotency_key)
        received = await asyncio.to_thread(jobs.new)
        try:
            asked, content = await _read(request, received, service)
            for clip in asked.clips:
                for path in (clip.path, clip.physio_path):
                    if path is not None:
                        allowed(path, sources)
            job = await asyncio.to_thread(
                jobs.add, received, asked, owner=_owner(request), key=idempotency_key, content=content
            )
        finally:
            received.remove()
        response.headers["Location"] = f"{request.scope.get('root_path', '')}{BATCH}/{job.id}"
        return await asyncio.to_thread(job.status, jobs.keep_s)

    @router.get(f"{BATCH}/{{job}}", summary="How far is a job?", responses=_problems(401, 403, 404, 503))
    def status(request: Request, job: str) -> Batch:
        return jobs.get(job, owner=_owner(request)).status(jobs.keep_s)

    @router.get(
        f"{BATCH}/{{job}}/result",
        summary="The answers of a job",
        description="One row per clip, in the order of the request; one that has no answer says why.",
        response_class=FileResponse,
        responses={**_problems(400, 401, 403, 404, 409, 503), 200: _RESULT},
    )
    def result(request: Request, job: str, table: Table = "clips") -> FileResponse:
        path = jobs.result(jobs.get(job, owner=_owner(request)), table)
        return FileResponse(path, media_type=PARQUET, filename=f"{table}.parquet")

    @router.delete(
        f"{BATCH}/{{job}}",
        summary="End a job, and delete all of it",
        status_code=HTTPStatus.NO_CONTENT,
        responses=_problems(401, 403, 404, 503),
    )
    def delete(request: Request, job: str) -> None:
        jobs.delete(jobs.get(job, owner=_owner(request)))

    return router


def _owner(request: Request) -> str:
    return str(request.scope.get(KEY) or "")


async def _read(request: Request, received: OwnFolder, service: Service) -> tuple[BatchRequest, str]:
    """What is asked, with the files below the folder, and a fingerprint of these. Raises as `read_form`."""
    settings, upload = service.settings.batches, Upload(folder=received.path / SENT)
    upload.folder.mkdir()
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() == "application/json":
        text: str | None = await _text(request)
    else:
        form = form_of_many(service.limits.max_bytes, settings.clips)
        with full_disk_named(upload.folder):
            await read_form(upload, request.stream(), content_type, form, most=settings.max_bytes + OVERHEAD_BYTES)
        text = upload.texts.pop(JOB, None)
    sent = {part: {key.partition("/")[2] for key in upload.names if key.startswith(f"{part}/")} for part in FILES}
    names = [key.partition("/")[2] for key in upload.names if key.startswith("clip/")]
    asked = (
        _parsed(text) if text is not None else BatchRequest.model_construct(clips=[BatchClip(clip=n) for n in names])
    )
    _check(asked, sent, settings.clips)
    return asked, await asyncio.to_thread(_content, upload.folder)


async def _text(request: Request) -> str:
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MAX_JOB_BYTES:
            raise MediaError(
                "the job is too large", where="request", allowed=f"at most {MAX_JOB_BYTES} bytes", code=Code.TOO_LARGE
            )
    return body.decode("utf-8", "replace")


def _parsed(text: str) -> BatchRequest:
    try:
        return BatchRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise _refused(
            first["msg"], where=".".join(map(str, (JOB, *first["loc"]))), seen=str(first["input"])[:SHOWN]
        ) from error


def _check(asked: BatchRequest, sent: dict[str, set[str]], most: int) -> None:
    """Refuses a job whose clips and files do not belong together."""
    if not asked.clips:
        raise _refused("the job has no clips", where="request", remedy="curl -F clip=@a.mp4 -F clip=@b.mp4 …")
    if len(asked.clips) > most:
        raise MediaError(
            "too many clips in one job",
            where=JOB,
            seen=f"{len(asked.clips)}",
            allowed=f"{most}",
            remedy="Make several jobs of them.",
            code=Code.TOO_LARGE,
        )
    names: set[str] = set()
    for number, clip in enumerate(asked.clips):
        where = f"{JOB}.clips.{number}"
        if clip.shown in names:
            raise _refused("two clips have the same name", where=where, seen=clip.shown, remedy="Give them a `name`.")
        names.add(clip.shown)
        for part in FILES:
            name = getattr(clip, part)
            if name is not None and name not in sent[part]:
                raise _refused(
                    "no such file came with the request",
                    where=f"{where}.{part}",
                    seen=name[:SHOWN],
                    allowed=", ".join(sorted(sent[part]))[:SHOWN] or "no file of this part",
                )
    for part in FILES:
        if unused := sorted(sent[part] - {getattr(clip, part) for clip in asked.clips}):
            raise _refused("a file that no clip names", where=part, seen=unused[0])


def _content(folder: Path) -> str:
    """Changes with the files and with their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint([f"{path.relative_to(folder)} {file_sha256(path)}" for path in files])


def _check_key(key: str | None) -> None:
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise _refused("not a key", where="Idempotency-Key", seen=key[:SHOWN], allowed="1 to 128 visible characters")


def _refused(
    what: str, *, where: str, seen: str | None = None, allowed: str | None = None, remedy: str | None = None
) -> DataError:
    return DataError(what, where=where, seen=seen, allowed=allowed, remedy=remedy, code=Code.BAD_REQUEST)


def _problems(*statuses: int) -> dict[int | str, dict[str, object]]:
    return {status: {**PROBLEMS, **_OF_JOBS}[status] for status in statuses}
