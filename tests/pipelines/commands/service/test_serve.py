"""The service starter in this process; a service with a real Ray behind it is in `tests/rollout/test_under_load.py`."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.contracts.config import Serving
from components.contracts.errors import ConfigError, UnavailableError
from components.contracts.layout import Layout
from components.serving.http.api_keys import FILE_VARIABLE
from components.serving.metrics import FOLDER_VARIABLE
from pipelines import cli
from pipelines.commands.service import reconciling, serve, shown, signals
from pipelines.commands.service.mlflow_server import server_environment
from pipelines.commands.service.supervise import Watch

VERSIONS = ("3", "4")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the starter sets for its replicas are restored after the test."""
    for name in ("ARTIFACTS_PROGRESS_BAR", "HTTP_REQUEST_MAX_RETRIES", "HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_{'ENABLE_' if name.startswith('ART') else ''}{name}", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@contextmanager
def answers(*bodies: bytes, status: int = 200) -> Iterator[str]:
    """Runs a service that gives these answers in turn; yields its address."""
    numbers = iter(range(10_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies[next(numbers) % len(bodies)]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        worker = threading.Thread(target=server.serve_forever, args=(0.01,))
        worker.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            worker.join()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_every_version_that_answers_is_listed_and_failures_count() -> None:
    with answers(*(f'{{"version": "{version}"}}'.encode() for version in VERSIONS)) as url:
        assert reconciling.answering(url) == set(VERSIONS)
    with answers(b"not JSON", b"{}") as url:
        assert reconciling.answering(url) == {""}
    with answers(b"{}", status=503) as url:
        assert reconciling.answering(url) == {""}
    assert reconciling.answering(f"http://127.0.0.1:{closed_port()}") == {""}


def test_it_waits_until_a_replica_answers_or_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)
    with answers(b"ok") as url:
        assert serve._wait_service(url, threading.Event(), Watch(report=print))
    stopped = threading.Event()
    stopped.set()
    unused = f"http://127.0.0.1:{closed_port()}"
    assert not serve._wait_service(unused, stopped, Watch(report=print))
    monkeypatch.setattr(serve, "READY_S", 0.05)
    with pytest.raises(UnavailableError, match="the service did not start") as late:
        serve._wait_service(unused, threading.Event(), Watch(report=print))
    assert late.value.where == unused


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_the_second_ends_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = threading.Event()
    with signals.signals(stop):
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_busy_port_of_the_service_is_an_error(project: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(UnavailableError, match=str(server.getsockname()[1])),
    ):
        serve.run(port=server.getsockname()[1])
    assert not (project / ".mer").exists()


def test_it_listens_beyond_this_machine_only_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    (tmp_path / "params.yaml").touch()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    open_to_all, layout = Serving(host="0.0.0.0"), Layout(tmp_path)
    serve._check_keys(Serving(), layout)
    with pytest.raises(ConfigError, match="mer keys create"):
        serve._check_keys(open_to_all, layout)
    assert cli.call(["keys", "create", "app"]) == 0
    serve._check_keys(open_to_all, layout)
    assert cli.call(["keys", "list"]) == 0
    assert cli.call(["keys", "revoke", "app"]) == 0
    with pytest.raises(ConfigError, match="no API keys"):
        serve._check_keys(open_to_all, layout)
    assert cli.call(["keys", "create", "app", "--scope", "predct"]) == 2


def test_the_reconciler_alone_needs_a_ray_that_runs_elsewhere(project: Path) -> None:
    with pytest.raises(UnavailableError, match="no Ray to serve on") as refused:
        reconciling.reconcile(once=True)
    assert refused.value.where == "RAY_ADDRESS"
    assert "mer serve" in str(refused.value.remedy)


def test_only_changes_and_trouble_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    shown.report("keep", "version 3 is served")
    assert capsys.readouterr().err == ""
    for kind in (*shown.EVENTS, "trouble"):
        shown.report(kind, "version 4")
        assert f"  {kind}: version 4\n" in capsys.readouterr().err


def test_an_mlflow_that_is_started_again_counts_nothing_among_what_the_service_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "/nowhere")
    assert FOLDER_VARIABLE not in server_environment()
