from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
import pytest

from components.contracts.errors import ConfigError, UnavailableError
from components.contracts.layout import Layout
from pipelines import run
from pipelines.project import load
from pipelines.stage import PROFILE_VARIABLE, Timing

ALL = (
    "inputs",
    "datasets@synthetic",
    "alignment@synthetic",
    "features@synthetic",
    "validation@synthetic",
    "catalog",
    "train",
    "evaluate",
    "register",
)


@pytest.fixture
def project(project_with_code: Path) -> Path:
    """DVC compares the code, too."""
    return project_with_code


def timing(stage: str, exit_code: int = 0, error: str | None = None) -> Timing:
    return Timing(stage=stage, seconds=1.0, exit_code=exit_code, error=error, run_id="r")


def test_in_a_fresh_project_everything_is_to_be_done(project: Path) -> None:
    plan = run.make_plan(Layout(project), load(project))
    assert plan.scope == ALL
    assert set(plan.pending) == set(ALL) - {"inputs"}
    assert plan.needs_ray


def test_a_target_brings_what_it_needs_and_no_more(project: Path) -> None:
    plan = run.make_plan(Layout(project), load(project), targets=["datasets"])
    assert plan.scope == ALL[:2]
    assert plan.pending == ("datasets@synthetic",)
    assert not plan.needs_ray


def test_force_takes_everything(project: Path) -> None:
    assert run.make_plan(Layout(project), load(project), force=True).pending == ALL


def test_an_unknown_target_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'evaluate'"):
        run.make_plan(Layout(project), load(project), targets=["evaluat"])


@pytest.mark.integration
def test_an_mlflow_that_is_away_is_said_before_anything_is_done(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="cannot reach MLflow"):
        run.run(root=project)
    assert not (project / "data").exists()
    plan = run.make_plan(Layout(project), load(project), targets=["catalog"])  # which needs none
    assert plan.scope[-1] == "catalog"


def test_one_run_at_a_time(project: Path) -> None:
    lock = project / ".mer" / "run.lock"
    lock.parent.mkdir()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="another `mer run`"):
            run.run(root=project)


def test_a_trace_is_for_one_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str | None] = []

    def reproduce(*_: object, **__: object) -> int:
        asked.append(os.environ.get(PROFILE_VARIABLE))
        return 7

    monkeypatch.setattr(run, "ray_head", lambda _: nullcontext())
    monkeypatch.setattr(run, "reproduce", reproduce)
    assert run.run(profile=True, root=project) == 7
    assert run.run(root=project) == 7
    assert asked == [str(run.PROFILE_STEPS), None]
    assert "No trace" not in capsys.readouterr().out
    run.run(profile=True, targets=["datasets"], root=project)
    assert "No trace: nothing is to be trained" in capsys.readouterr().out


def test_the_exit_code_is_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.failure([timing("catalog"), timing("train", 5, "training failed")]) == 5
    assert "stopped in train after 1 s: training failed" in capsys.readouterr().err


def test_a_failure_without_a_stage_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.failure([]) == run.failure([], 255) == 1
    assert "the message is above" in capsys.readouterr().err


def test_a_stage_that_could_not_leave_a_record_gives_its_exit_code_all_the_same() -> None:
    assert run.failure([timing("catalog")], 7) == 7


def test_an_interrupted_stage_interrupts_the_run() -> None:
    with pytest.raises(KeyboardInterrupt):
        run.failure([timing("train", 130, "interrupted")])


# A slow stage; the next one is never reached.
SLOW = """\
stages:
  inputs:
    cmd: mer inputs
    always_changed: true
    outs:
      - data/inputs
  catalog:
    cmd: echo begun > begun && exec sleep 300
    deps:
      - data/inputs/params.yaml
    outs:
      - data/catalog
"""


# A shell's background job ignores SIGINT and its children inherit that; these tests must not depend on it.
HEED_INTERRUPTS = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from pipelines.cli import main
main()
"""


@contextmanager
def ended(child: subprocess.Popen[str]) -> Iterator[None]:
    """Ends the child also after a failure, so that the test fails instead of hanging."""
    try:
        yield
    finally:
        child.kill()


def interrupted(project: Path, how: signal.Signals) -> None:
    """Runs the slow stage and interrupts it."""
    (project / "begun").unlink(missing_ok=True)
    with (
        subprocess.Popen(
            [sys.executable, "-c", HEED_INTERRUPTS, "run"], cwd=project, stderr=subprocess.PIPE, text=True
        ) as child,
        ended(child),
    ):
        deadline = time.monotonic() + 60
        while not (project / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        below = psutil.Process(child.pid).children(recursive=True)
        assert any(process.name() == "sleep" for process in below)
        os.kill(child.pid, how)
        shown = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    assert "Interrupted" in shown
    assert "Traceback" not in shown
    assert not psutil.wait_procs(below, timeout=10)[1]


@pytest.mark.integration
def test_an_interrupt_leaves_nothing_behind(project: Path) -> None:
    """Each of the two signals ends a run; the next run goes on from there."""
    (project / "dvc.yaml").write_text(SLOW)
    for how in (signal.SIGINT, signal.SIGTERM):
        interrupted(project, how)
    (project / "dvc.yaml").write_text(SLOW.replace("exec sleep 300", "mkdir -p data/catalog"))
    command = [sys.executable, "-m", "pipelines.cli", "run"]
    again = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
