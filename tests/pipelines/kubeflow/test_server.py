"""What reaches the server: address, namespace, token, service account, certificates, against a small HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from components.contracts.errors import ConfigError, UnavailableError
from pipelines import dag
from pipelines.cli import call
from pipelines.kubeflow import generate, recurring, schedules
from pipelines.kubeflow.place import Place
from pipelines.kubeflow.server import Server, connect
from pipelines.kubeflow.settings import load_settings
from pipelines.kubeflow.task import asked
from tests.pipelines.projects import ROOT, in_thread

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Requests(BaseHTTPRequestHandler):
    """Answers every list with nothing in it, gives what is created an id, and records what was asked."""

    asked: list[tuple[str, str, str | None]]
    created: ClassVar[dict[str, dict[str, Any]]] = {}

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path, self.headers.get("authorization")))
        self._answer(b"{}")

    def do_POST(self) -> None:
        kind = urlsplit(self.path).path.rpartition("/")[2]
        self.created[kind] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b'{"experiment_id": "e-1", "run_id": "r-1"}')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    """The address of an API and the requests that it got."""
    asked: list[tuple[str, str, str | None]] = []
    handler = type("Handler", (Requests,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_namespace_and_token_reach_the_server_and_looking_only_reads(
    api: tuple[str, list[tuple[str, str, str | None]]], tmp_path: Path
) -> None:
    host, asked = api
    token = tmp_path / "token"
    token.write_text("first\n")
    place = Place(client=connect(Server(host=host, token_file=token)), namespace="team-a")
    desired = schedules.Schedules(prefix="mer-", experiment="mer")
    assert "no recurring run" in recurring.listing(place, desired)
    token.write_text("second\n")  # the kubelet replaces a mounted token before it expires
    recurring.listing(place, desired)
    listed = [(urlsplit(path), token) for _, path, token in asked if "experiments" in path]
    assert {parse_qs(url.query)["namespace"][0] for url, _ in listed} == {"team-a"}
    assert [token for _, token in listed] == ["Bearer first", "Bearer second"]
    assert {kind for kind, _, _ in asked} == {"GET"}


def test_a_run_is_started_in_the_namespace_and_under_the_account(
    api: tuple[str, list[tuple[str, str, str | None]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kfp import compiler

    created: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(Requests, "created", created)
    host, _ = api
    node = dag.Node(address="inputs", command="", description="", deps=(), outs=(), params={}, upstream=())
    package = tmp_path / "mer.yaml"
    in_thread(lambda: compiler.Compiler().compile(generate.build([node], load_settings(ROOT)), str(package)))
    server = Server(host=host, namespace="team-a", service_account="trainer")
    assert generate.start(server, package, asked("ada")) == f"{host}/#/runs/details/r-1"
    assert created["experiments"]["namespace"] == "team-a"
    assert created["runs"]["service_account"] == "trainer"
    assert created["runs"]["display_name"].startswith("retrain: asked ")
    assert "by ada" in created["runs"]["runtime_config"]["parameters"]["decision"]
    assert created["runs"]["experiment_id"] == "e-1"


def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        connect(Server(host="http://127.0.0.1:9"))


@pytest.mark.parametrize("option", ["token_file", "ca_file"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match="gone"):
        connect(Server(host="http://127.0.0.1:9", **{option: tmp_path / "gone"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "command", [["schedule", "apply"], ["schedule", "list"], ["schedule", "run-now"], ["kfp", "run"]]
)
def test_a_command_without_a_server_names_the_option(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    assert call(command) == 2
    assert "--host ADDRESS" in capsys.readouterr().err
