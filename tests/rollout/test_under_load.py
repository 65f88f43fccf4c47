"""Promotions, rollbacks and refusals on a real Ray Serve and a real MLflow, while requests go on."""

from __future__ import annotations

import ipaddress
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.contracts.config import Rollout, Serving
from components.registry.bundle import load_bundle
from components.rollout.reconcile import Loop, Reconciler
from components.rollout.serve_control import ServeControl
from components.rollout.trial import TRIAL
from components.rollout.versions import AT, REASON, STATE, MlflowVersions
from components.serving.answers.schemas import Answer, Problem
from components.serving.assignment import Assignment
from components.serving.clips import clip_of_file
from components.serving.live.protocol import binary
from components.serving.pool import ChildPool
from components.serving.predictor import Predictor
from components.serving.trial import TrialCounts
from tests.rollout.registry import KEYS, TinyRegistry
from tests.rollout.versions_of_before import BUNDLE, SHA256
from tests.serving import media
from tests.serving.bundles import break_goldens, name_unknown_taxonomy, tiny_bundle
from tests.serving.ports import http_port
from tests.serving.test_stream import BEGIN, heard, opened, pieces

pytestmark = pytest.mark.integration

START_S = 240.0
# The longest that a change may take after the alias was moved.
PROMISED_S = 15.0
PAUSE_S = 0.2


def until(true: Callable[[], bool], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s:g} s: {what}")


@dataclass
class Load:
    """Clients that post one clip after the other and keep the responses."""

    url: str
    clip: bytes
    clients: int = 2
    pause_s: float = PAUSE_S
    responses: list[tuple[int, str]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self.threads = [threading.Thread(target=self._post) for _ in range(self.clients)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def _post(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self.stop.is_set():
                try:
                    response = client.post(f"{self.url}/v1/predict", files={"clip": ("a.mp4", self.clip)})
                    version = response.json()["model"]["version"] if response.is_success else response.text
                    self.responses.append((response.status_code, version))
                except httpx.HTTPError as error:
                    self.responses.append((0, repr(error)))
                time.sleep(self.pause_s)


@dataclass
class Line:
    """Registry, Serve and reconciler, running."""

    registry: TinyRegistry
    control: ServeControl
    folder: Path
    clip: bytes
    loop: Loop

    def add(self, seed: int, *, broken: bool = False, gates: str | None = "true") -> str:
        folder = self.folder / f"bundle-{seed}"
        sha256 = tiny_bundle(folder, seed=seed)
        if broken:
            sha256 = break_goldens(folder)
        return self.registry.add(folder, sha256, gates=gates)

    def state(self, version: str) -> str | None:
        return self.registry.tags(version).get(STATE)

    def served(self) -> str | None:
        response = httpx.get(f"{self.control.url}/v1/version", timeout=30)
        return response.json()["version"] if response.is_success else None

    def asked(self) -> dict[str, Any]:
        response = httpx.post(f"{self.control.url}/v1/predict", files={"clip": ("a.mp4", self.clip)}, timeout=60)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def promote(self, version: str, becomes: str, within_s: float = PROMISED_S) -> None:
        self.registry.promote(version)
        until(lambda: self.state(version) == becomes, within_s, f"version {version} becomes {becomes}")


@pytest.fixture(scope="module")
def line(ray_session: None, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    from ray import serve

    folder = tmp_path_factory.mktemp("line")
    (folder / "registry").mkdir()
    registry = TinyRegistry(mlflow_uri, "under-load", folder / "registry")
    control = ServeControl(
        Serving(port=http_port(), replica_cpus=0.1, max_queued_requests=8),
        cache=folder / "cache",
        golden_tolerance=1e-4,
        alias="champion",
        keys=KEYS,
        application="under-load",
        route_prefix="/under-load",
    )
    loop = Loop(
        reconciler=Reconciler(
            versions=MlflowVersions(model_name=registry.name, alias="champion", tracking_uri=mlflow_uri),
            control=control,
            tracking_uri=mlflow_uri,
            cache=folder / "cache",
            keys=KEYS,
            golden_tolerance=1e-4,
        ),
        poll_s=1.0,
    )
    worker = threading.Thread(target=loop.run)
    worker.start()
    clip = media.video(folder / "a.mp4", seconds=0.6, side_px=64).read_bytes()
    yield Line(registry=registry, control=control, folder=folder, clip=clip, loop=loop)
    loop.halt()
    worker.join(30)
    serve.shutdown()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


def test_promotion_under_load(line: Line) -> None:
    url = line.control.url
    until(lambda: healthy(url), START_S, "the application answers")
    until(lambda: line.control.actual().phase == "running", START_S, "all replicas have started")
    before = httpx.post(f"{url}/v1/predict", files={"clip": ("a.mp4", line.clip)}, timeout=60)
    assert (before.status_code, before.json()["error"]["code"]) == (503, "no-version")

    first, second = line.add(1), line.add(2)
    line.promote(first, "serving", START_S)
    with Load(url, line.clip) as load:
        for promoted, old in ((second, first), (first, second)):
            line.promote(promoted, "serving")
            assert line.served() == promoted
            until(lambda old=old: line.state(old) == "superseded", PROMISED_S, "the old version is superseded")

        for bad, reason in (
            (line.add(3, broken=True), "golden examples do not hold"),
            (line.add(4, gates=None), "no tag gates.passed"),
        ):
            line.promote(bad, "refused")
            tags = line.registry.tags(bad)
            assert reason in tags[REASON]
            assert tags[AT]
            assert line.served() == first
            assert line.state(first) == "serving"

        # The version that is served already is promoted again: requests go on.
        before_it = len(load.responses)
        line.registry.promote(first)
        until(lambda: len(load.responses) > before_it + 4, PROMISED_S, "requests go on")

    assert [response for response in load.responses if response[0] != 200] == []
    assert {version for _, version in load.responses} == {first, second}
    assert len(load.responses) > 20


def test_replicas_that_refuse_a_version_leave_the_old_one_answering(line: Line) -> None:
    """A broken bundle given to Serve directly, without the check before it: Serve keeps one old replica answering, and
    the reconciler restores the version of the alias."""
    url = line.control.url
    good = line.served()
    folder = line.folder / "sneaked"
    tiny_bundle(folder, seed=7)
    sha256 = break_goldens(folder)
    folder.rename(line.folder / "cache" / sha256)
    sneaked = Assignment(
        model_name=line.registry.name, version="99", bundle_sha256=sha256, tracking_uri=line.registry.uri
    )
    with Load(url, line.clip, clients=1) as load:
        line.control.deploy(sneaked)
        until(lambda: (line.control.actual().applied or sneaked).version == good, PROMISED_S, "the old version is back")
        until(lambda: line.control.actual().phase == "running", START_S, "all replicas are back")
    assert {response for response in load.responses if response[0] != 200} == set()
    assert {version for _, version in load.responses} == {good}


def test_a_challenger_is_compared_answers_a_share_and_is_returned(line: Line) -> None:
    """Two versions with random weights: they differ on some clips, which is what returns the second one."""
    client, name, champion = line.registry.client, line.registry.name, line.served()
    challenger = line.add(8)
    client.set_registered_model_alias(name, "challenger", challenger)
    before = line.loop.reconciler
    versions = replace(before.versions, challenger_alias="challenger")  # type: ignore[type-var]

    def on_trial(**settings: Any) -> None:
        line.loop.reconciler = replace(before, versions=versions, rollout=Rollout(**settings))
        line.loop.wake.set()

    def counts() -> TrialCounts:
        applied = line.control.actual().applied
        trial = "" if applied is None else str(applied.trial_id)
        return line.control.trial_counts(trial) or TrialCounts(trial=trial)

    def tags() -> dict[str, str]:
        return line.registry.tags(challenger)

    def asked(number: int) -> Any:
        headers = {"x-request-id": f"request-{number}"}
        files = {"clip": ("a.mp4", line.clip)}
        response = httpx.post(f"{line.control.url}/v1/predict", files=files, headers=headers, timeout=60)
        assert response.status_code == 200
        return response.json()["model"]["version"]

    on_trial(shadow=True)
    until(lambda: tags().get(TRIAL) == "shadow", START_S, "the challenger is on trial")
    until(lambda: line.control.actual().phase == "running", START_S, "all replicas have it")
    assert {asked(number) for number in range(6)} == {champion}
    until(lambda: bool(asked(9)) and counts().compared >= 4, START_S, "clips are judged by both")
    seen = counts()
    assert seen.answered == 0
    assert seen.timed == seen.compared

    # More than any disagreement is allowed, so the share stays.
    on_trial(shadow=True, canary_share=0.5, canary_max_disagreement=1.0)
    until(lambda: tags().get(TRIAL) == "canary", START_S, "it answers")
    until(lambda: line.control.actual().phase == "running", START_S, "all replicas have the share")
    answers = [asked(number) for number in range(12)]
    assert set(answers) == {champion, challenger}
    assert [asked(number) for number in range(4)] == answers[:4]
    until(lambda: counts().answered >= answers.count(challenger), START_S, "they are counted")
    families = {f.name: f.samples for f in text_string_to_metric_families(metrics_of(line))}
    assert sum(s.value for s in families["mer_trial_answers"] if s.name.endswith("_total")) >= answers.count(challenger)
    assert {s.labels["role"] for s in families["mer_trial_seconds"]} == {"champion", "challenger"}

    # The time of the challenger is allowed to be a millionth of the champion's, so it is returned.
    on_trial(canary_share=0.5, canary_max_disagreement=1.0, canary_max_latency_ratio=1e-6, canary_min_compared=4)
    until(lambda: tags().get(TRIAL) == "returned", START_S, "it is returned")
    assert tags()["rollout.trial.reason"].startswith("latency: ")
    until(lambda: line.control.actual().applied.trial is None, START_S, "it is forgotten")  # type: ignore[union-attr]
    until(lambda: line.control.actual().phase == "running", START_S, "all replicas have forgotten it")
    assert {asked(number) for number in range(12)} == {champion}
    line.loop.reconciler = before


def test_a_challenger_that_disagrees_is_returned(line: Line, tmp_path: Path) -> None:
    """A version with random weights that gives the clip a different emotion than the champion does."""
    pool, emotion = ChildPool(), line.asked()["emotion"]
    clip = tmp_path / "a.mp4"
    clip.write_bytes(line.clip)

    def differs(seed: int) -> bool:
        tiny_bundle(tmp_path / str(seed), seed=seed)
        other = Predictor(load_bundle(tmp_path / str(seed)), pool=pool)
        return other.predict(clip_of_file(clip, other.guard)).emotion != emotion

    challenger = line.add(next(seed for seed in range(20, 60) if differs(seed)))
    tags = returned(line, challenger, Rollout(canary_share=0.5, canary_max_disagreement=0.2, canary_min_compared=4))
    assert tags["rollout.trial.reason"].startswith("disagreement: a different emotion on ")
    assert tags["rollout.trial.agreement"] == "0.000"


def test_a_challenger_that_cannot_judge_is_returned_and_costs_no_request(line: Line) -> None:
    """A version that passes the checks before it is loaded, and fails on each clip."""
    folder = line.folder / "cannot-judge"
    tiny_bundle(folder, seed=9)
    challenger = line.registry.add(folder, name_unknown_taxonomy(folder))
    tags = returned(line, challenger, Rollout(canary_share=0.5, canary_max_disagreement=1.0))
    assert re.match(r"errors: it could not judge (\d+) of \1\b", tags["rollout.trial.reason"])
    assert (tags["rollout.trial.answered"], tags["rollout.trial.compared"]) == ("0", "0")
    assert int(tags["rollout.trial.errors"]) >= 2


def returned(line: Line, challenger: str, rollout: Rollout) -> dict[str, str]:
    """The tags of a challenger once it answers a share no more; until then each request is answered, and afterwards by
    the champion."""
    champion = line.served()
    line.registry.client.set_registered_model_alias(line.registry.name, "challenger", challenger)
    before = line.loop.reconciler
    versions = replace(before.versions, challenger_alias="challenger")  # type: ignore[type-var]
    line.loop.reconciler = replace(before, versions=versions, rollout=rollout)
    line.loop.wake.set()

    def tags() -> dict[str, str]:
        return line.registry.tags(challenger)

    until(lambda: tags().get(TRIAL) == "canary", START_S, "it answers a share")
    until(lambda: bool(line.asked()) and tags().get(TRIAL) == "returned", START_S, "it is returned")
    until(lambda: line.control.actual().applied.trial is None, START_S, "it is forgotten")  # type: ignore[union-attr]
    until(lambda: line.control.actual().phase == "running", START_S, "all replicas have forgotten it")
    assert {line.asked()["model"]["version"] for _ in range(12)} == {champion}
    line.loop.reconciler = before
    return tags()


def metrics_of(line: Line) -> str:
    return httpx.get(f"http://127.0.0.1:{line.control.serving.port}/metrics").text


def test_a_form_through_the_proxy_gives_a_whole_answer(line: Line) -> None:
    response = httpx.post(
        f"{line.control.url}/v1/predict",
        files={"clip": ("a.mp4", line.clip)},
        data={"transcript": "well"},
        timeout=60,
    )
    answer = Answer.model_validate(response.json())
    assert answer.model.name == line.registry.name
    assert answer.presence["face"] == 1.0


def test_a_live_stream_through_the_proxy_is_judged_by_replicas(line: Line) -> None:
    with opened(f"{line.control.url}/", {**BEGIN, "answer": False}) as stream:
        begun = json.loads(stream.recv(timeout=60))
        assert (begun["name"], begun["version"]) == (line.registry.name, line.served())
        for piece in pieces(1.5):
            stream.send(binary(piece))
        stream.send('{"type": "end"}')
        messages = heard(stream)
    assert messages[-1] == {"type": "ended", "steps": 15, "notes": []}
    assert messages[0]["moments"][0]["present"] == ["face", "voice"]


def test_the_proxy_reports_what_its_replicas_count(line: Line) -> None:
    origin = f"http://127.0.0.1:{line.control.serving.port}"
    families = {f.name: f.samples for f in text_string_to_metric_families(httpx.get(f"{origin}/metrics").text)}

    def total(name: str, **labels: str) -> float:
        samples = families[name]
        return sum(s.value for s in samples if s.name.endswith("_total") and labels.items() <= s.labels.items())

    answered = total("mer_http_requests", route="/v1/predict", status="200")
    assert answered > 20
    assert total("mer_answers") == answered
    [now] = [s.labels["version"] for s in families["mer_version_info"] if s.value == 1]
    assert now == line.served()
    assert {name for name in families if not name.startswith("mer_")} == set()


def test_refusals_reach_the_client_through_the_proxy(line: Line) -> None:
    url = line.control.url
    limit = line.control.serving.upload_limits.max_bytes
    for content, name, status in (
        (b"", "empty.mp4", 400),
        (b"a text", "text.mp4", 415),
        (b"\x00" * (limit + 1), "big.mp4", 413),
        (line.clip[:700], "half.mp4", 422),
    ):
        response = httpx.post(f"{url}/v1/predict", files={"clip": (name, content)}, timeout=120)
        assert (name, response.status_code) == (name, status)
        assert response.json()["error"]["where"] == name
        assert response.json()["request_id"] == response.headers["x-request-id"]
        assert len(response.headers.get_list("x-request-id")) == 1


def test_nothing_waits_behind_predictions_and_a_full_queue_is_said(line: Line) -> None:
    url, serving = line.control.url, line.control.serving
    most = serving.replicas * serving.max_ongoing_requests + serving.max_queued_requests
    with Load(url, line.clip, clients=most + 4, pause_s=0.0) as load:
        until(lambda: bool(load.responses), START_S, "the first prediction is made")
        for path in ("/healthz", "/readyz", "/v1/version"):
            assert httpx.get(f"{url}{path}", timeout=5).status_code == 200
        until(lambda: any(status != 200 for status, _ in load.responses), START_S, "a request is refused")
        load.stop.set()
    refusals = [text for status, text in load.responses if status != 200]
    assert {status for status, _ in load.responses} == {200, 503}
    assert {Problem.model_validate_json(text).error.code for text in refusals} == {"busy"}


@pytest.mark.usefixtures("line")
def test_ray_and_serve_listen_on_this_machine_alone() -> None:
    addresses = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            sockets = process.net_connections("inet")
            addresses |= {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    assert addresses
    assert {ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in addresses} == {True}


def test_a_replica_that_is_killed_costs_no_request(line: Line) -> None:
    url = line.control.url
    with Load(url, line.clip) as load:
        until(lambda: len(load.responses) > 3, PROMISED_S, "requests go on")
        running = psutil.process_iter(["cmdline"])
        replica = next(p for p in running if "ServeReplica:under-load" in " ".join(p.info["cmdline"] or []))
        replica.kill()
        count = len(load.responses)
        until(lambda: len(load.responses) > count + 6, START_S, "requests go on")
    assert [response for response in load.responses if response[0] != 200] == []
    until(lambda: line.control.actual().phase == "running", START_S, "the replica is back")


def test_a_version_of_before_is_promoted_and_answers(line: Line) -> None:
    """Registered by the code before its modules moved (`before/README.md`)."""
    before = line.registry.add(BUNDLE, SHA256)
    line.promote(before, "serving", START_S)  # its encoders are not loaded yet
    assert line.served() == before
    response = httpx.post(f"{line.control.url}/v1/predict", files={"clip": ("a.mp4", line.clip)}, timeout=60)
    assert response.json()["model"]["version"] == before
    assert response.json()["model"]["bundle_sha256"] == SHA256
