"""The HTTP surface on the ASGI application itself; `tests/rollout/test_under_load.py` has it behind Ray Serve."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import promql_parser
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from safetensors.numpy import save

from components.contracts.config import Serving
from components.registry.bundle import load_bundle
from components.registry.goldens import GoldenClip
from components.runtime.children import guarded
from components.runtime.pages.drawing import COLOURS
from components.serving.answers.forms import MEDIA_TYPES
from components.serving.answers.schemas import Answer, Problem
from components.serving.clips import clip_of_file
from components.serving.http import observed
from components.serving.http.access import needed_scope
from components.serving.http.app import create_app
from components.serving.http.feature_body import SAFETENSORS
from components.serving.http.gateway import SERVES, Gateway
from components.serving.http.observed import EXAMPLE, FEATURES, PICTURES, Observed
from components.serving.http.problems import STATUS_BY_CLASS, STATUS_BY_CODE
from components.serving.http.uploads import FILES, TEXTS
from components.serving.metrics import STAGES
from components.serving.predictor import Predictor
from components.serving.service import Service, ServiceSettings
from tests.serving import media
from tests.serving.conftest import LIMITS

# A child whose decoder really dies of clips with this name.
DEADLY = """
import os, signal
from components.alignment.align import Aligner
from components.runtime.children.guarded import child
def fatal(real):
    def call(*args, **named):
        if "deadly" in str(args) + str(named):
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(*args, **named)
    return call
Aligner.align_ungated = fatal(Aligner.align_ungated)
child()
"""
# A child that never aligns a clip, and takes no processor time.
ASLEEP = """
import signal
from components.alignment.align import Aligner
from components.runtime.children.guarded import child
Aligner.align_ungated = lambda *_, **__: signal.pause()
child()
"""
MONITORING = Path(__file__).resolve().parents[3] / "infra" / "monitoring"
Call = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


def called(service: Service, call: Call) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await call(client)

    return asyncio.run(run())


def posted(service: Service, content: bytes, *, name: str = "clip.mp4", **parts: Any) -> httpx.Response:
    files = {"clip": (name, content), **{key: part for key, part in parts.items() if isinstance(part, tuple)}}
    texts = {key: part for key, part in parts.items() if isinstance(part, str)}
    return called(service, lambda client: client.post("/v1/predict", files=files, data=texts))


def problem(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/json"
    return Problem.model_validate(response.json())


def test_a_posted_clip_gets_the_answer_that_the_predictor_gives(service: Service, clip_path: Path) -> None:
    response = posted(service, clip_path.read_bytes(), transcript="what a day")
    assert response.status_code == 200
    answer = Answer.model_validate(response.json())
    bundle = load_bundle(service.settings.cache / answer.model.bundle_sha256)
    own = Predictor(bundle, name="tiny", version="4", pool=service.current().pool, limits=LIMITS)
    assert response.text == own.predict(clip_of_file(clip_path, own.guard, transcript="what a day")).to_json()


def test_why_is_in_the_answer_where_the_request_asks_for_it(service: Service, clip_path: Path) -> None:
    files = {"clip": ("a.mp4", clip_path.read_bytes())}

    def asked(query: str) -> httpx.Response:
        return called(service, lambda client: client.post(f"/v1/predict?{query}", files=files))

    for query, expected in (("", False), ("why=false", False), ("why=true", True)):
        answer = Answer.model_validate(asked(query).json())
        assert {episode.why is not None for episode in answer.episodes} == {expected}
    refused = asked("why=perhaps")
    assert refused.status_code == HTTPStatus.BAD_REQUEST
    error = problem(refused).error
    assert (error.code, error.where, error.seen) == ("bad-request", "query.why", "perhaps")


def test_an_answer_has_the_form_that_is_asked_for(service: Service, clip_path: Path) -> None:
    def asked(accept: str) -> httpx.Response:
        files = {"clip": ("a.mp4", clip_path.read_bytes())}
        return called(service, lambda client: client.post("/v1/predict", files=files, headers={"accept": accept}))

    whole = Answer.model_validate_json(asked("image/png, */*;q=0.1").text)
    for kind, form in MEDIA_TYPES.items():
        shown = asked(f"application/x-unknown, {kind};q=0.5")
        assert shown.headers["content-type"].partition(";")[0] == kind
        assert shown.text == form(whole)
    refused = asked("image/png")
    assert refused.status_code == HTTPStatus.NOT_ACCEPTABLE
    assert "text/vtt" in Problem.model_validate(refused.json()).error.what


def test_an_upload_that_kills_its_decoder_is_refused_and_the_next_one_answered(
    service: Service, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = posted(service, clip_path.read_bytes())
    guard = service.current().guard
    guard.close()
    with monkeypatch.context() as patch:
        patch.setattr(guarded, "CHILD", DEADLY)
        response = posted(service, clip_path.read_bytes(), name="deadly.mp4")
        assert response.status_code == 422
        error = problem(response).error
        assert (error.code, error.where, error.seen) == ("crashed", "deadly.mp4", "signal SIGSEGV, 2 times")
        before = guard.pid
        assert before is not None
        again = posted(service, clip_path.read_bytes())
    assert (again.status_code, again.text) == (200, good.text)
    assert guard.pid == before
    guard.close()


def test_a_request_that_is_cancelled_ends_its_work(
    service: Service, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve cancels the request of a client that is gone, and one whose time is over."""
    guard = service.current().guard
    guard.close()
    at_work, send = threading.Event(), guarded._send

    def sent(line: Connection, fields: guarded.Fields, body: bytes | None) -> None:
        send(line, fields, body)
        if fields["request"]["do"] == "aligned":  # not the one before, which opens the clip
            at_work.set()

    async def cancelled() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(service)), base_url="http://t") as client:
            request = asyncio.create_task(client.post("/v1/predict", files={"clip": ("a.mp4", clip_path.read_bytes())}))
            while not at_work.is_set():
                await asyncio.sleep(0.005)
            before = guard.pid
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            assert before is not None
            return before

    with monkeypatch.context() as patch:
        patch.setattr(guarded, "CHILD", ASLEEP)
        patch.setattr(guarded, "_send", sent)
        ended = asyncio.run(cancelled())
        assert not psutil.pid_exists(ended)
        guard.close()
    assert posted(service, clip_path.read_bytes()).status_code == 200


def test_the_process_that_answers_opens_no_media_itself(
    service: Service, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.current().guard.wait()
    monkeypatch.setattr("av.open", None)
    assert posted(service, clip_path.read_bytes()).status_code == 200


def test_uploads_at_once_get_their_own_answers(service: Service, clip_path: Path, tmp_path: Path) -> None:
    contents = [clip_path.read_bytes(), b"\x00\x01" * 99]
    contents += [media.sound(tmp_path / f"{n}.wav", seconds=1.0 + n / 10).read_bytes() for n in range(3)]
    alone = [posted(service, content).text for content in contents]

    async def together(client: httpx.AsyncClient) -> Any:
        return await asyncio.gather(
            *(client.post("/v1/predict", files={"clip": ("clip.mp4", content)}) for content in contents * 2)
        )

    assert [response.text for response in called(service, together)] == alone * 2  # type: ignore[attr-defined, arg-type]


def test_words_and_physiology_are_used(service: Service, clip_path: Path, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"time_s": [index / 64 for index in range(128)], "ecg": [0.0, 1.0] * 64}), tmp_path / "p.parquet"
    )
    words = json.dumps([{"text": "well", "start_s": 0.5, "end_s": 1.0}])
    physio = ("p.parquet", (tmp_path / "p.parquet").read_bytes())
    response = posted(service, clip_path.read_bytes(), words=words, physio=physio)
    answer = Answer.model_validate(response.json())
    assert [m.start_s for m in answer.timeline if "text" in m.present] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert any(note.startswith("physio: present in") for note in answer.notes)


def test_features_alone_get_the_answer_of_their_clip(service: Service, clip_path: Path) -> None:
    predictor = service.current()
    copied = Path(shutil.copy(clip_path, service.uploads.path))  # the child that decodes may read nothing else
    clip = clip_of_file(copied, predictor.guard, transcript="what a day")
    whole, encoded = predictor.predict(clip, why=True), predictor.encoded(clip)
    rows = {name: np.where(own.valid[:, None], own.values, np.float32(np.nan)) for name, own in encoded.items()}

    def asked(body: bytes, kind: str) -> httpx.Response:
        headers = {"content-type": kind}
        return called(service, lambda client: client.post(f"{FEATURES}?why=true", content=body, headers=headers))

    answer = Answer.model_validate(asked(save(rows), SAFETENSORS).json())
    lists = {name: [None if np.isnan(row).all() else row.tolist() for row in own] for name, own in rows.items()}
    as_text = asked(json.dumps(lists).encode(), "application/json; charset=utf-8")
    assert Answer.model_validate(as_text.json()) == answer
    assert (answer.posterior, answer.presence) == (whole.posterior, whole.presence)
    assert [moment.posterior for moment in answer.timeline] == [moment.posterior for moment in whole.timeline]
    assert answer.notes[0].startswith("judged from features")
    assert answer.episodes[0].why is not None
    half_a_sign = asked(rb'{"\ud800": [[1.0]]}', "application/json")  # which the refusal has to name
    assert half_a_sign.status_code == 400
    assert "?" in str(problem(half_a_sign).error)
    refused = asked(b"\x00" * 20, "application/x-hdf5")
    assert (refused.status_code, problem(refused).error.code) == (415, "unsupported-media")


def test_a_clip_comes_back_as_pictures(service: Service, clip_path: Path) -> None:
    def asked(content: bytes, name: str = "a.mp4") -> httpx.Response:
        return called(service, lambda client: client.post(PICTURES, files={"clip": (name, content)}))

    pictures = asked(clip_path.read_bytes()).json()["pictures"]
    assert [picture["at_s"] for picture in pictures] == pytest.approx([0.0, 0.48, 1.0, 1.48])  # 25 per second
    assert all(base64.b64decode(picture["jpeg"]).startswith(b"\xff\xd8") for picture in pictures)
    refused = asked(b"I am a text.\n", "text.mp4")
    assert (refused.status_code, problem(refused).error.code) == (415, "unsupported-media")


def test_a_version_brings_a_clip_to_try_it_with(
    service: Service, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called(service, lambda client: client.get(EXAMPLE)).status_code == HTTPStatus.NOT_FOUND
    golden = GoldenClip(media=clip_path.read_bytes(), transcript="well", expected={})
    predictor = service.current()
    monkeypatch.setattr(predictor, "bundle", replace(predictor.bundle, golden_clip=golden))
    clip = called(service, lambda client: client.get(EXAMPLE)).json()
    assert (base64.b64decode(clip["media"]), clip["transcript"]) == (golden.media, "well")


def test_what_the_version_is_and_takes(service: Service) -> None:
    model = called(service, lambda client: client.get("/v1/model")).json()
    assert model["version"]["version"] == "4"
    assert model["encoders"]["voice"]["encoder"] == "signal"
    assert model["limits"]["max_duration_s"] == LIMITS.max_duration_s
    assert model["gates"] == [{"name": "ece", "verdict": "passed", "words": "fine"}]


def test_bad_uploads_are_refused_with_a_reason(service: Service, clip_path: Path, tmp_path: Path) -> None:
    clip = clip_path.read_bytes()
    long = media.sound(tmp_path / "long.wav", seconds=6).read_bytes()
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    for content, name, status, code in (
        (b"", "empty.mp4", 400, "empty-file"),
        (b"I am a text.\n", "text.mp4", 415, "unsupported-media"),
        (lfs, "pointer.mp4", 415, "lfs-pointer"),
        (b"\x00" * 200_001, "big.mp4", 413, "too-large"),
        (long, "long.wav", 413, "too-long"),
        (clip[: len(clip) // 3], "half.mp4", 422, None),
    ):
        response = posted(service, content, name=name)
        assert response.status_code == status, (name, response.text)
        error = problem(response).error
        assert error.where == name
        assert code is None or error.code == code
        assert "/tmp" not in response.text


def test_a_face_without_sound_and_sound_without_a_face_are_answered(service: Service, tmp_path: Path) -> None:
    mute = media.video(tmp_path / "mute.mp4", sound=False)
    answer = Answer.model_validate(posted(service, mute.read_bytes()).json())
    assert answer.presence["face"] == 1.0
    assert answer.presence["voice"] == 0.0
    tone = media.sound(tmp_path / "a.wav")
    answer = Answer.model_validate(posted(service, tone.read_bytes(), name="a.wav").json())
    assert answer.presence["face"] == 0.0
    assert answer.presence["voice"] > 0.5


def test_silence_is_answered_without_an_emotion(service: Service, tmp_path: Path) -> None:
    silence = media.sound(tmp_path / "quiet.wav", level=0)
    response = posted(service, silence.read_bytes(), name="quiet.wav")
    assert response.status_code == 200
    answer = Answer.model_validate(response.json())
    assert answer.emotion is None
    assert "the sound is silent" in answer.notes


def test_requests_that_are_not_a_form(service: Service, clip_path: Path) -> None:
    response = called(service, lambda client: client.post("/v1/predict", json={"clip": "a.mp4"}))
    assert (response.status_code, problem(response).error.code) == (400, "bad-request")
    clip = clip_path.read_bytes()
    for parts, status, code in (
        ({"words": "nonsense"}, 400, "bad-words"),
        ({"words": r'[{"text": "\ud800", "start_s": 0, "end_s": 1}]'}, 400, "bad-words"),
        ({"words": '[{"text": "a", "start_s": 0, "end_s": ' + "9" * 400 + "}]"}, 400, "bad-words"),
        ({"transcript": r'{"text": "a \ud800 b"}'}, 400, "bad-text"),
        ({"transcript": "word " * 1000}, 413, "too-long"),
    ):
        response = posted(service, clip, **parts)
        assert (response.status_code, problem(response).error.code) == (status, code)
    for path, status in (("/nothing", 404), ("/v1/predict", 405)):
        response = called(service, lambda client, path=path: client.get(path))
        assert (response.status_code, problem(response).error.code) == (status, "http")


def test_without_a_version_the_status_is_503_and_the_process_is_healthy(tmp_path: Path) -> None:
    empty = Service(ServiceSettings(cache=tmp_path, limits=LIMITS, golden_tolerance=1e-4, alias="champion"))
    for path in ("/readyz", "/v1/version"):
        response = called(empty, lambda client, path=path: client.get(path))
        assert (response.status_code, problem(response).error.code) == (503, "no-version")
        assert response.headers["retry-after"] == "5"
    assert posted(empty, b"x").status_code == 503
    assert called(empty, lambda client: client.get("/healthz")).status_code == 200


def test_a_defect_reveals_no_internals(service: Service, clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Answer:
        raise RuntimeError("secret path /srv/keys")

    monkeypatch.setattr(service, "predict", fail)
    response = posted(service, clip_path.read_bytes())
    assert (response.status_code, problem(response).error.code) == (500, "internal")
    assert "secret" not in response.text


def test_version_ready_and_health(service: Service) -> None:
    served = called(service, lambda client: client.get("/v1/version")).json()
    assert (served["name"], served["version"], served["modalities"]) == ("tiny", "4", ["face", "text", "voice"])
    assert called(service, lambda client: client.get("/readyz")).json() == {"status": "ready", "version": "4"}


def test_the_page_needs_nothing_from_elsewhere(service: Service) -> None:
    response = called(service, lambda client: client.get("/"))
    assert response.headers["content-type"].startswith("text/html")
    # The name space of SVG is a name: nothing is fetched from it.
    page = response.text.replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"""(?:src|href)=["'](?!#)[^"']+|https?://|@import""", page) == []
    assert "v1/predict" in response.text


def test_the_pages_of_the_documentation_need_nothing_from_elsewhere(service: Service) -> None:
    async def fetched(client: httpx.AsyncClient) -> Any:
        pages = [(await client.get(path)).text for path in ("/docs", "/redoc")]
        files = {file for page in pages for file in re.findall(r"""(?:src|href)=["']([^"']+)""", page)}
        return pages, [(await client.get(file)).status_code for file in files]

    pages, statuses = called(service, fetched)  # type: ignore[arg-type, misc]
    assert not re.search("https?://", "".join(pages))
    assert len(statuses) >= 3
    assert set(statuses) == {200}


def test_an_emotion_has_one_colour_in_the_page_and_in_the_plots(service: Service) -> None:
    page = called(service, lambda client: client.get("/")).text
    (colours,) = re.findall(r"const COLOURS = \{(.+?)\};", page, flags=re.DOTALL)
    assert dict(re.findall(r'(\w+): "(#\w+)"', colours)) == COLOURS


def test_the_documented_request_names_every_part(service: Service) -> None:
    schema = called(service, lambda client: client.get("/openapi.json")).json()
    operation = schema["paths"]["/v1/predict"]["post"]
    parts = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(parts) == {*FILES, *TEXTS}
    statuses = {"200", "400", "401", "403", "406", "408", "413", "415", "421", "422", "429", "500", "503", "507"}
    assert set(operation["responses"]) == statuses
    answers = operation["responses"]["200"]["content"]
    assert set(answers) == set(MEDIA_TYPES)
    assert answers["application/json"]["schema"]["$ref"].endswith("/Answer")
    refusals = {*STATUS_BY_CODE.values(), *(status for _, status in STATUS_BY_CLASS), *SERVES}
    refusals -= {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}  # of streams and jobs
    assert {str(int(status)) for status in refusals} <= statuses
    assert set(schema["paths"]["/metrics"]["get"]["responses"]) == {"200", "401", "403"}
    protected = {path for path, methods in schema["paths"].items() for own in methods.values() if own.get("security")}
    assert protected == {path for path in schema["paths"] if needed_scope(path) is not None}


def expressions() -> list[str]:
    """Those of the alerts and of the dashboard."""
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    shown = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    return [rule["expr"] for group in groups for rule in group["rules"]] + shown


def selectors(expression: Any) -> list[promql_parser.VectorSelector]:
    if isinstance(expression, promql_parser.VectorSelector):
        return [expression]
    parts = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
    parts += getattr(expression, "args", ())
    return [inner for part in parts if part is not None for inner in selectors(part)]


def test_a_scrape_has_every_metric_of_the_alerts_and_the_dashboard(
    service: Service, clip_path: Path, tmp_path: Path
) -> None:
    async def scraped() -> tuple[httpx.Response, str]:
        app = Observed(Gateway(create_app(service), Serving()))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:  # type: ignore[arg-type]
            refused = await client.post("/v1/predict", files={"clip": ("a.mp4", b"I am a text.")})
            answered = await client.post("/v1/predict", files={"clip": ("a.mp4", clip_path.read_bytes())})
            assert answered.status_code == 200
            return refused, (await client.get("/metrics")).text

    log = tmp_path / "requests.jsonl"
    observed.log_to(log)
    refused, text = asyncio.run(scraped())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["route"], line["status"], line["code"]) for line in lines] == [
        ("/v1/predict", 415, "unsupported-media"),
        ("/v1/predict", 200, None),
    ]
    assert lines[0]["request_id"] == refused.headers["x-request-id"] == refused.json()["request_id"]
    assert "a.mp4" not in log.read_text()

    samples: dict[str, list[Mapping[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample.labels)
    for expression in expressions():
        used = selectors(promql_parser.parse(expression))
        assert used, expression
        for selector in used:
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert any(labels <= set(own) for own in samples.get(selector.name, ())), (expression, selector.name)
    assert re.search(r'mer_refusals_total\{code="unsupported-media"\} [1-9]', text)
    assert 'mer_version_info{bundle_sha256="' in text
    assert set(re.findall(r'mer_stage_seconds_count\{stage="(\w+)"\} [1-9]', text)) == set(STAGES)
