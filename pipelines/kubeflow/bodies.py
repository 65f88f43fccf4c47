"""The bodies of the pipeline's tasks. KFP sends each to the cluster as text, so each has its own imports.

They start `mer` with `-P`: with the code of this environment, not that of the current folder. Their hashes are
compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kfp import dsl


def check_task(
    *,
    workspace: str,
    edges: str,
    code: str,
    assignments: str,
    decision: str,
    only: str,
    run_id: str,
    repository: str,
    branch: str,
) -> NamedTuple("Begun", [("Output", str), ("plan", str)]):  # type: ignore[valid-type]
    """Compares the project with the pipeline and decides; gives the decision's kind, and what the others need."""
    import json
    import subprocess
    import sys
    import tempfile

    with tempfile.NamedTemporaryFile() as plan:
        mer = [sys.executable, "-P", "-m", "pipelines.cli"]
        arguments = ["--edges", edges, "--code", code, "--settings", assignments, "--decision", decision]
        arguments += ["--only", only, "--run-id", run_id, "--repository", repository, "--branch", branch]
        done = subprocess.run([*mer, "kfp", "check", *arguments, "--out", plan.name], cwd=workspace, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)
        text = plan.read().decode()
    return json.loads(json.loads(text)["decision"])["kind"], text


def stage_task(*, stage: str, workspace: str, run_id: str, code: str, only: str, plan: str, repository: str) -> None:
    """Runs one stage."""
    import signal
    import subprocess
    import sys

    mer = [sys.executable, "-P", "-m", "pipelines.cli"]
    arguments = ["--run-id", run_id, "--code", code, "--only", only, "--plan", plan, "--repository", repository]
    process = subprocess.Popen([*mer, "kfp", "task", stage, *arguments], cwd=workspace)
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    if process.wait() != 0:
        sys.exit(process.returncode)


def finish_task(*, workspace: str, run_id: str, plan: str, repository: str, push_options: str) -> None:
    """Pushes the lock of the run."""
    import json
    import subprocess
    import sys

    mer = [sys.executable, "-P", "-m", "pipelines.cli"]
    arguments = ["--run-id", run_id, "--plan", plan, "--repository", repository]
    arguments += [word for option in json.loads(push_options) for word in ("--push-option", option)]
    done = subprocess.run([*mer, "kfp", "finish", *arguments], cwd=workspace, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def report_task(*, workspace: str, run_id: str, repository: str, status: dsl.PipelineTaskFinalStatus) -> None:
    """Cleans up after the run and tells how it ended."""
    import subprocess
    import sys

    mer = [sys.executable, "-P", "-m", "pipelines.cli"]
    arguments = ["--run-id", run_id, "--state", status.state, "--message", status.error_message or ""]
    arguments += ["--repository", repository]
    done = subprocess.run([*mer, "kfp", "report", *arguments], cwd=workspace, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
