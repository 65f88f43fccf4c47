"""A client of the service that `mer serve` runs: typed answers, refusals as exceptions, another try where one helps.

    from mer.client import Client

    with Client("http://127.0.0.1:8000", key="mer_…") as client:
        answer = client.predict("talk.mp4", transcript="we actually won", why=True)

The answers are those of `mer.predict`. It needs httpx and the schemas alone: neither torch nor Ray is imported.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from components.contracts.codes import Code
from components.contracts.errors import MerError, UnavailableError
from components.serving.answers.schemas import (
    Answer,
    Problem,
    ProblemDetail,
    ServedModel,
    ServedVersion,
    Versions,
    authorization,
)
from components.serving.batch.schemas import Batch, BatchClip, BatchRequest, BatchState

StrPath = str | os.PathLike[str]
Schema = TypeVar("Schema", bound=BaseModel)
BATCH = "v1/predict:batch"
BATCH_LOOK_S = 1.0
FEATURES, SAFETENSORS = "v1/predict:features", "application/vnd.safetensors"
ACCEPT_JSON = {"Accept": "application/json"}
# Before the service has answered at all: it is starting, or its proxy is. The wait doubles from the first of these.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
TOO_FAR_S = 3600.0  # no wait is longer, whatever a header says


class RefusedError(MerError):
    """The service gave no answer but a `Problem`; `what`, `where`, `seen`, `allowed` and `remedy` are its own.

    Attributes:
        status: of HTTP.
        problem: as the service sent it; its `error.code` is one of docs/codes.md, or of a later version.
        request_id: names the request in the service's log.
    """

    def __init__(self, problem: Problem, *, status: int) -> None:
        detail = problem.error
        self.status, self.problem, self.request_id = status, problem, problem.request_id
        super().__init__(
            detail.what,
            where=detail.where,
            seen=detail.seen,
            allowed=detail.allowed,
            remedy=detail.remedy,
            code=Code(detail.code) if detail.code in set(Code) else Code.HTTP,
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _refused, (self.problem, self.status)


class Client:
    """Asks one service. A context manager: its connections end with it. Threads may share one.

    Args:
        url: of the service, with its prefix if it has one.
        key: an API key of `mer keys create`; by default that of the environment's MER_API_KEY, if there is one.
        timeout_s: the longest wait for the next byte of a response.
        patience_s: how many seconds a call may spend waiting before further tries, in all. A refusal that is for now
            (408, 429, 503, 507) is tried again after what its `Retry-After` says; a service that cannot be reached,
            after half a second, then twice as long each time. A prediction changes nothing in the service, so that it
            may be sent again. 0: no further try.
        transport: of httpx, such as one to an application in this process.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout_s: float = 120.0,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._http = httpx.Client(
            base_url=url,
            headers=authorization(key),
            timeout=timeout_s,
            transport=transport,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def predict(
        self,
        path: StrPath,
        *,
        transcript: str | None = None,
        words: StrPath | None = None,
        physio: StrPath | None = None,
        video_track: int | None = None,
        audio_track: int | None = None,
        why: bool = False,
        request_id: str | None = None,
    ) -> Answer:
        """Judges one clip.

        Args:
            path: a video, a sound file or a photograph.
            transcript: the spoken words: text, SubRip, WebVTT, TextGrid, or a recogniser's JSON.
            words, physio: files with the times of the words (JSON) and with body signals (Parquet).
            video_track, audio_track: which of several tracks of the file to use, counted from 1.
            why: whether episodes and transitions have what they rest on.
            request_id: names the request in the service's log: letters, digits, `.`, `_`, `-`, at most 64.

        Raises:
            RefusedError: there is no answer; it says why.
            UnavailableError: the service cannot be reached.
            OSError: a file cannot be read.
        """
        texts = {"transcript": transcript, "video_track": video_track, "audio_track": audio_track}
        data = {name: str(value) for name, value in texts.items() if value is not None}
        files = {"clip": path, "words": words, "physio": physio}

        def send() -> httpx.Response:
            with _opened({name: Path(file) for name, file in files.items() if file is not None}) as parts:
                return self._http.post(
                    "v1/predict",
                    params={"why": "true"} if why else {},
                    data=data,
                    files=parts,
                    headers={**ACCEPT_JSON, **_request_id(request_id)},
                )

        return _read(Answer, self._asked(send))

    def predict_features(
        self, features: Mapping[str, NDArray[np.float32]], *, why: bool = False, request_id: str | None = None
    ) -> Answer:
        """Judges a clip of which only features are sent; arguments and errors as of `predict`.

        Args:
            features: modality → (T, D) as the version's encoders give them, on its grid (`model()` has both); NaN
                throughout a step that is not there.
        """
        from safetensors.numpy import save

        body = save({name: np.ascontiguousarray(rows, dtype=np.float32) for name, rows in features.items()})
        headers = {**ACCEPT_JSON, **_request_id(request_id), "Content-Type": SAFETENSORS}
        params = {"why": "true"} if why else {}
        return _read(
            Answer, self._asked(lambda: self._http.post(FEATURES, params=params, content=body, headers=headers))
        )

    def predict_batch(
        self,
        files: Sequence[StrPath] = (),
        *,
        clips: Sequence[BatchClip | Mapping[str, Any]] | None = None,
        physio: Sequence[StrPath] = (),
        why: bool = False,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Sends a job of many clips; the service judges them when there is time. Sent again after a broken connection,
        it is still one job.

        Args:
            files: the clips to send, of different names.
            clips: what goes with each, and files that the service can read itself (`BatchClip`); by default each of
                `files` is a clip, and nothing goes with it.
            physio: body signals to send, which `clips` name.
            why: as of `predict`.
            idempotency_key: names the job, so that a program that was started again makes no second one; by default
                each call makes one.

        Raises:
            RefusedError: it is not taken.
            UnavailableError, OSError: as of `predict`.
        """
        paths = [Path(path) for path in files]
        chosen = [BatchClip(clip=path.name) for path in paths] if clips is None else clips
        asked = BatchRequest(clips=[BatchClip.model_validate(clip) for clip in chosen], why=why)
        parts = [*(("clip", path) for path in paths), *(("physio", Path(path)) for path in physio)]
        body = asked.model_dump_json(exclude_defaults=True)
        headers = {**ACCEPT_JSON, "Idempotency-Key": idempotency_key or uuid.uuid4().hex}

        def send() -> httpx.Response:
            if not parts:
                return self._http.post(BATCH, content=body, headers={**headers, "Content-Type": "application/json"})
            with ExitStack() as stack:
                sent = [(part, (path.name, stack.enter_context(path.open("rb")))) for part, path in parts]
                return self._http.post(BATCH, data={"job": body}, files=sent, headers=headers)

        return _read(Batch, self._asked(send))

    def batch(self, job: str) -> Batch:
        """How far a job is. Raises as `predict`."""
        return self._got(Batch, f"{BATCH}/{job}")

    def batch_result(self, job: str, *, table: str = "clips", wait_s: float = 0.0) -> bytes:
        """The results of a job, Parquet: `pandas.read_parquet(io.BytesIO(…))`.

        Args:
            job: its id.
            table: `clips`, one row per clip; or `moments`, one per moment of all clips.
            wait_s: how long to wait until it is finished, in seconds.

        Raises:
            RefusedError: it is not finished (`unfinished`), or as `predict`.
            UnavailableError: as of `predict`.
        """
        deadline = time.monotonic() + wait_s
        while self.batch(job).state != BatchState.FINISHED and time.monotonic() < deadline:
            time.sleep(min(BATCH_LOOK_S, max(0.0, deadline - time.monotonic())))
        return self._asked(
            lambda: self._http.get(f"{BATCH}/{job}/result", params={"table": table}), again=False
        ).content

    def delete_batch(self, job: str) -> None:
        """Ends a job, and deletes all of it. Raises as `predict`."""
        self._asked(lambda: self._http.delete(f"{BATCH}/{job}"))

    def version(self) -> ServedVersion:
        """The version in service. Raises as `predict`."""
        return self._got(ServedVersion, "v1/version")

    def versions(self) -> Versions:
        """The registered versions of the model in service. Raises as `predict`."""
        return self._got(Versions, "v1/versions")

    def model(self) -> ServedModel:
        """What the version in service is, and what it takes. Raises as `predict`."""
        return self._got(ServedModel, "v1/model")

    def card(self) -> str:
        """Its model card, Markdown. Raises as `predict`."""
        return self._asked(lambda: self._http.get("v1/model/card")).text

    def ready(self) -> bool:
        """Whether the service can answer now; False, too, where it cannot be reached."""
        try:
            return self._http.get("readyz").status_code == HTTPStatus.OK
        except httpx.TransportError:
            return False

    def terms(self) -> str:
        """Licence and consent of its data: that part of the card. Raises as `predict`."""
        return self._asked(lambda: self._http.get("v1/model/terms")).text

    def _got(self, schema: type[Schema], path: str) -> Schema:
        return _read(schema, self._asked(lambda: self._http.get(path, headers=ACCEPT_JSON)))

    def _asked(self, send: Callable[[], httpx.Response], *, again: bool = True) -> httpx.Response:
        """The response, after as many tries as the patience allows, or one. Raises as `predict`."""
        left_s, unheard_s = self._patience_s if again else 0.0, FIRST_WAIT_S
        while True:
            try:
                response = send()
            except httpx.TransportError as error:
                wait_s, unheard_s = unheard_s, min(2 * unheard_s, LONGEST_WAIT_S)
                if wait_s > left_s or not isinstance(error, httpx.ConnectError | httpx.RemoteProtocolError):
                    raise _unreachable(self._http.base_url, error) from error
            else:
                if response.is_success:
                    return response
                after = _retry_after_s(response)
                if after is None or after > left_s:
                    raise RefusedError(_problem(response), status=response.status_code)
                wait_s = after
            left_s -= wait_s
            time.sleep(wait_s)


@contextmanager
def _opened(files: dict[str, Path]) -> Iterator[dict[str, tuple[str, IO[bytes]]]]:
    with ExitStack() as stack:
        yield {name: (file.name, stack.enter_context(file.open("rb"))) for name, file in files.items()}


def _request_id(given: str | None) -> dict[str, str]:
    return {} if given is None else {"X-Request-Id": given}


def _read(schema: type[Schema], response: httpx.Response) -> Schema:
    try:
        return schema.model_validate_json(response.content)
    except ValidationError as error:
        raise UnavailableError(
            "the response is not that of a service of this kind",
            where=str(response.url),
            seen=response.text[:100],
            allowed=schema.__name__,
            remedy="Look whether the address is that of `mer serve`, and whether its version is much newer.",
        ) from error


def _problem(response: httpx.Response) -> Problem:
    """What the service says; of a proxy before it that says something else, the status."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        what = f"the response has status {response.status_code}, and is not of the service"
        return Problem(
            error=ProblemDetail(code=Code.HTTP, what=what, where=str(response.url), seen=response.text[:100])
        )


def _retry_after_s(response: httpx.Response) -> float | None:
    """The seconds of `Retry-After` (RFC 9110, section 10.2.3), a number or a date; None without a sound one."""
    text = response.headers.get("retry-after", "")
    if text.isdecimal():
        return min(float(text), TOO_FAR_S)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), TOO_FAR_S) if until.tzinfo else None


def _unreachable(url: httpx.URL, error: httpx.TransportError) -> UnavailableError:
    return UnavailableError(
        "the service does not answer",
        where=str(url),
        seen=f"{type(error).__name__}: {error}",
        remedy="`mer serve` starts it; `timeout_s` is how long an answer may take.",
    )


def _refused(problem: Problem, status: int) -> RefusedError:
    return RefusedError(problem, status=status)
