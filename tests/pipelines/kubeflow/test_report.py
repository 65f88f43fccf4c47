from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.contracts.errors import UnavailableError
from pipelines import lease
from pipelines.kubeflow import ray_job
from pipelines.kubeflow.report import COMMAND_VARIABLE, WEBHOOK_VARIABLE, clear_jobs, report


class Webhook(BaseHTTPRequestHandler):
    """Refuses the first request and keeps the second."""

    bodies: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(503 if len(self.bodies) == 1 else 204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and what it got."""
    bodies: list[dict[str, Any]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Webhook,), {"bodies": bodies})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", bodies
        server.shutdown()


@dataclass
class Jobs:
    """A job server in memory."""

    states: dict[str, str]
    stopped: list[str] = field(default_factory=list)

    def list_jobs(self) -> list[Any]:
        states = self.states.items()
        return [SimpleNamespace(submission_id=name, status=SimpleNamespace(value=state)) for name, state in states]

    def submit_job(self, *, entrypoint: str, submission_id: str, entrypoint_num_cpus: float) -> str:
        raise AssertionError

    def get_job_status(self, job_id: str) -> Any:
        raise AssertionError

    def get_job_logs(self, job_id: str) -> str:
        return f"log of {job_id}"

    def stop_job(self, job_id: str) -> bool:
        self.stopped.append(job_id)
        return True


def test_jobs_that_a_run_left_are_stopped_and_all_its_logs_are_kept(tmp_path: Path) -> None:
    jobs = Jobs({"r1-train-1": "FAILED", "r1-train-2": "RUNNING", "r2-train-1": "RUNNING"})
    assert clear_jobs(jobs, "r1", tmp_path) == ["stopped Ray job r1-train-2"]
    assert jobs.stopped == ["r1-train-2"]
    assert {path.name for path in tmp_path.iterdir()} == {"r1-train-1.log", "r1-train-2.log"}
    assert (tmp_path / "r1-train-1.log").read_text() == "log of r1-train-1"


def test_leases_of_the_run_are_given_back_and_its_end_is_told(
    tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, bodies = webhook
    monkeypatch.setenv(WEBHOOK_VARIABLE, address)
    lost = threading.Event()
    monkeypatch.setenv("MER_RUN_ID", "r1")
    own = lease.Lease(tmp_path / lease.FOLDER, lost.set, beat_s=0.01)
    monkeypatch.setenv("MER_RUN_ID", "r2")
    with own, lease.Lease(tmp_path / lease.FOLDER) as other:
        text = report(run_id="r1", state="FAILED", message="train: no room", root=tmp_path)
        assert lost.wait(5)  # should it live after all, it stops
        assert other.held
    assert text == "r1: FAILED: train: no room\n1 leases given back\nreported"
    assert bodies[1]["run"] == "r1"
    assert (bodies[1]["state"], bodies[1]["message"]) == ("FAILED", "train: no room")


def test_an_address_that_does_not_answer_is_an_error_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK_VARIABLE, "http://127.0.0.1:9/secret")
    with pytest.raises(UnavailableError) as raised:
        report(run_id="r1", state="SUCCEEDED")
    assert "secret" not in str(raised.value)


def test_a_job_server_that_does_not_answer_is_an_error_when_everything_else_is_done(
    tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, bodies = webhook
    monkeypatch.setenv(WEBHOOK_VARIABLE, address)
    monkeypatch.setenv(ray_job.JOBS_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setenv("MER_RUN_ID", "r1")
    with lease.Lease(tmp_path / lease.FOLDER) as own, pytest.raises(UnavailableError, match="job server"):
        report(run_id="r1", state="CANCELLED", root=tmp_path)
    assert not own.held
    assert "may still run" in bodies[1]["text"]


def test_a_command_gets_the_report_and_the_address_too_and_a_failure_of_one_keeps_neither_from_the_other(
    tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, bodies = webhook
    monkeypatch.setenv(WEBHOOK_VARIABLE, address)
    mail = tmp_path / "a mail"
    monkeypatch.setenv(COMMAND_VARIABLE, f"(echo $MER_REPORT_STATE of $MER_REPORT_RUN; cat) > '{mail}'")
    assert report(run_id="r1", state="FAILED", message="train: no room").endswith("reported\nreported")
    assert mail.read_text() == "FAILED of r1\nr1: FAILED: train: no room"
    monkeypatch.setenv(COMMAND_VARIABLE, "echo password; echo no such host >&2; exit 3")
    with pytest.raises(UnavailableError, match="no such host") as raised:
        report(run_id="r1", state="FAILED")
    assert "password" not in str(raised.value)
    assert len(bodies) == 3  # the first one of all was refused
    mail.unlink()
    monkeypatch.setenv(COMMAND_VARIABLE, f"touch '{mail}'")
    monkeypatch.setenv(WEBHOOK_VARIABLE, "http://127.0.0.1:9/")
    with pytest.raises(UnavailableError, match="not taken"):
        report(run_id="r1", state="FAILED")
    assert mail.exists()
