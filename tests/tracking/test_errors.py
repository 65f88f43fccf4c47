"""Each way in which MLflow can be away gives an error that says which, whoever asks. Servers and files are real."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.contracts.config import Tracking
from components.contracts.errors import ConfigError, MerError, UnavailableError
from components.registry.fetch import fetch_bundle
from components.registry.marking import search
from components.rollout.versions import MlflowVersions
from components.tracking.address import VARIABLE
from components.tracking.client import Client
from components.tracking.errors import (
    AlreadyInMlflowError,
    DeniedError,
    MlflowRefusedError,
    NotInMlflowError,
    translated,
    translation,
)
from components.tracking.runs import find_run
from components.tracking.versions import registered_version, resolve

pytestmark = pytest.mark.integration

CLOSED = "http://127.0.0.1:9"
AWAY = "cannot reach MLflow"
FAILING = "the MLflow server answers with an error of its own"
OTHER = "what answers here is not MLflow, or one of a different version"


@pytest.fixture(autouse=True)
def _ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv(VARIABLE, raising=False)


@contextmanager
def answering(status: int, body: bytes, **others: tuple[int, bytes]) -> Iterator[str]:
    """A server that gives one answer to everything, but to paths that end in a given name; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status_here, body_here = others.get(self.path.partition("?")[0].rpartition("/")[2], (status, body))
            self.send_response(status_here)
            self.send_header("Content-Length", str(len(body_here)))
            self.end_headers()
            self.wfile.write(body_here)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "what", "seen"),
    [
        (500, b"<html>Oops</html>", FAILING, "<html>Oops</html>"),
        (503, b"busy", FAILING, "busy"),
        (500, b'{"error_code": "INTERNAL_ERROR", "message": "boom"}', FAILING, "boom"),
        (404, b"<html>Not here</html>", OTHER, "404"),
        (404, b'{"detail": "Not Found"}', OTHER, "Not Found"),
        (200, b"<html>some other app</html>", OTHER, "some other app"),
        (401, b"You are not authenticated.", "MLflow does not let this user in", "401"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "MLflow does not let this user in", "no"),
    ],
)
def test_a_server_that_does_not_do_is_told_from_one_that_is_away(
    status: int, body: bytes, what: str, seen: str
) -> None:
    with answering(status, body) as uri:
        for ask in (lambda: resolve("mer", "champion", tracking_uri=uri), lambda: Client(uri).search_runs(["0"])):
            with pytest.raises(UnavailableError) as caught:
                ask()
            error = caught.value
            assert (error.what, error.where, error.exit_code) == (what, uri, 7)
            assert seen in str(error.seen)
            assert "MLFLOW_TRACKING_" in str(error.remedy)


NO_MODEL = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model with name=mer not found"})


def test_a_model_that_is_not_there_is_told_from_one_that_may_not_be_read() -> None:
    """MLflow's login answers like this about the alias in both cases, as `make stack` showed."""
    with answering(403, b"Permission denied", get=(404, NO_MODEL.encode())) as uri:
        assert resolve("mer", "champion", tracking_uri=uri) is None
        with pytest.raises(DeniedError):
            Client(uri).search_runs(["0"])
    with answering(403, b"Permission denied") as uri, pytest.raises(DeniedError, match="does not let this user in"):
        resolve("mer", "champion", tracking_uri=uri)


def test_a_server_whose_disk_is_full_is_told_from_one_that_is_away() -> None:
    message = "(sqlite3.OperationalError) database or disk is full [SQL: INSERT INTO experiments …]"
    body = json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE", "message": message}).encode()
    with answering(503, body) as uri, pytest.raises(UnavailableError) as caught:
        Client(uri).create_experiment("mer")
    assert (caught.value.what, caught.value.where) == ("the disk of the MLflow server is full", uri)
    assert (caught.value.code, caught.value.exit_code) == ("no-room", 7)


@pytest.mark.parametrize(
    "ask",
    [
        lambda uri, folder: Client(uri).search_runs(["0"]),
        lambda uri, folder: find_run(Tracking(uri=uri), folder, "a" * 64),
        lambda uri, folder: resolve("mer", "champion", tracking_uri=uri),
        lambda uri, folder: registered_version("mer", "a" * 64, tracking_uri=uri),
        lambda uri, folder: fetch_bundle("mer", "1", tracking_uri=uri, cache_dir=folder),
        lambda uri, folder: search({"a"}, tracking_uri=uri),
        lambda uri, folder: MlflowVersions(model_name="mer", alias="champion", tracking_uri=uri).marked(),
    ],
)
def test_whoever_asks_gets_the_same_error(ask: Callable[[str, Path], object], tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        ask(CLOSED, tmp_path)
    assert str(caught.value) == (
        "http://127.0.0.1:9: cannot reach MLflow; seen 'Failed to establish a new connection: [Errno 111] "
        "Connection refused'. Start the server there (on one machine `make serve` does), or set MLFLOW_TRACKING_URI "
        "to where it is."
    )


def test_a_file_that_is_no_store_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database at all, just text that is long enough to be read\n" * 20)
    uris = {
        f"sqlite:///{tmp_path / 'text'}": "file is not a database",
        f"sqlite:///{tmp_path / 'text' / 'x.db'}": "File",
    }
    for uri, seen in uris.items():
        with pytest.raises(UnavailableError, match=AWAY) as caught:
            Client(uri).search_registered_models()
        assert caught.value.where == uri
        assert seen in str(caught.value.seen)
        assert "readable and writable" in str(caught.value.remedy)


@pytest.mark.parametrize("uri", ["localhost:5000", "http:/tracking", "ftp://tracking:5000"])
def test_an_address_that_is_none_is_an_error_of_the_configuration(uri: str) -> None:
    with pytest.raises(ConfigError, match="not an address of MLflow") as caught:
        Client(uri).search_registered_models()
    assert "sqlite:///PATH or http://HOST:PORT" in str(caught.value)


def test_what_mlflow_does_not_have_or_take_is_not_a_failure_to_reach_it(mlflow_uri: str) -> None:
    client = Client(mlflow_uri)
    with pytest.raises(NotInMlflowError, match="does not have this"):
        client.get_model_version("never-registered", "1")
    client.create_experiment("taken")
    with pytest.raises(AlreadyInMlflowError, match="has this already"):
        client.create_experiment("taken")
    with pytest.raises(MlflowRefusedError, match="does not take this") as caught:
        client.search_runs(["0"], filter_string="nonsense")
    assert caught.value.exit_code == 5
    assert not isinstance(caught.value, UnavailableError)


def test_errors_of_others_pass() -> None:
    assert translation(ValueError("x"), CLOSED) is None
    for error in (ValueError("x"), MerError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, translated(CLOSED):
            raise error
        assert caught.value is error
