"""What is done when a run has ended, however it did: `mer kfp report`, the pipeline's exit task.

Jobs that the run left on the Ray cluster are stopped and their output is kept, its leases are given back, what its
tasks left for each other in a repository is deleted, and whoever `MER_WEBHOOK` names is told, as is a command of yours,
which may send e-mail. After a failure nothing else would: a task that is gone cannot report.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from components.contracts.atomic import atomic_file
from components.contracts.errors import UnavailableError
from components.contracts.layout import Layout
from pipelines import lease
from pipelines.kubeflow import ray_job
from pipelines.loop.clone import Clone

WEBHOOK_VARIABLE, COMMAND_VARIABLE = "MER_WEBHOOK", "MER_REPORT_COMMAND"
TIMEOUT_S = 20.0
ATTEMPTS = 3


def report(*, run_id: str, state: str, message: str = "", root: Path | None = None, repository: str = "") -> str:
    """Cleans up after a run and reports it; returns what was done as lines.

    Args:
        run_id: of the Kubeflow run, or a name.
        state: SUCCEEDED, FAILED or CANCELLED, as Kubeflow has it.
        message: of the error.
        root: the workspace; None where tasks share none.
        repository: where tasks share none, the project's.

    Raises:
        UnavailableError: the address of `MER_WEBHOOK` or the command of `MER_REPORT_COMMAND` does not take the report,
            or the job server does not answer. Everything else was done.
    """
    lines = [f"{run_id}: {state}" + (f": {message}" if message else "")]
    address = os.environ.get(ray_job.JOBS_VARIABLE)
    troubles: list[UnavailableError] = []
    if address and root is not None:
        try:
            lines += clear_jobs(ray_job.client(address), run_id, Layout(root).state / "logs" / run_id)
        except UnavailableError as error:
            troubles.append(error)
            lines.append(f"its Ray jobs may still run: {error}")
    if root is not None and (count := lease.release(root / lease.FOLDER, run_id)):
        lines.append(f"{count} leases given back")
    if repository:
        with tempfile.TemporaryDirectory() as folder:
            count = Clone.forget(repository, Path(folder), run_id=run_id)
        lines += [f"{count} parts of a run that did not end were deleted in the repository"] if count else []
    facts = {"run": run_id, "state": state, "message": message, "text": "\n".join(lines)}
    for variable, send in ((WEBHOOK_VARIABLE, tell), (COMMAND_VARIABLE, pipe)):
        if receiver := os.environ.get(variable):
            try:
                send(receiver, facts)
            except UnavailableError as error:
                troubles.append(error)
            else:
                lines.append("reported")
    if troubles:
        print("\n".join(lines))
        raise troubles[0]
    return "\n".join(lines)


def clear_jobs(jobs: ray_job.Jobs, run_id: str, folder: Path) -> list[str]:
    """Stops what a run left running on a Ray cluster, and writes the output of each of its jobs to a file: it goes with
    the cluster. Raises UnavailableError: the job server does not answer."""
    lines = []
    for job in ray_job.answer(jobs.list_jobs):
        name = job.submission_id or ""
        if not name.startswith(ray_job.submission_name(run_id, "")):
            continue
        if str(job.status.value) not in ray_job.OVER:
            ray_job.answer(partial(jobs.stop_job, name))
            lines.append(f"stopped Ray job {name}")
        with atomic_file(folder / f"{name}.log") as path:
            path.write_text(ray_job.answer(partial(jobs.get_job_logs, name)), encoding="utf-8")
    return lines


def tell(url: str, body: dict[str, Any]) -> None:
    """Posts JSON. `text` is what chat services show. Raises UnavailableError after a few attempts."""
    import httpx

    error: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            httpx.post(url, json=body, timeout=TIMEOUT_S).raise_for_status()
        except httpx.HTTPError as failed:
            error = failed
        else:
            return
    raise UnavailableError(
        "the report was not taken",
        where=WEBHOOK_VARIABLE,  # the address may hold a secret
        seen=type(error).__name__,
        remedy="Check the address in the environment of the task, and that the network lets it through",
    )


def pipe(command: str, facts: Mapping[str, str]) -> None:
    """Runs a command of a shell, `mail -s … team@example.org` for example, with the text as its input and the other
    facts as `MER_REPORT_RUN`, `MER_REPORT_STATE` and `MER_REPORT_MESSAGE`. Raises UnavailableError: it failed."""
    variables = {f"MER_REPORT_{name.upper()}": value for name, value in facts.items() if name != "text"}
    shell = ["sh", "-c", command]
    environment = {**os.environ, **variables}
    try:
        subprocess.run(
            shell, input=facts["text"], text=True, capture_output=True, check=True, env=environment, timeout=TIMEOUT_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (
            (error.stderr or "") if isinstance(error, subprocess.CalledProcessError) else f"longer than {TIMEOUT_S:g} s"
        )
        raise UnavailableError(
            "the command that reports has failed",
            where=COMMAND_VARIABLE,  # it may hold a secret
            seen=said.strip().splitlines()[-1] if said.strip() else None,
            remedy="Try it in a shell: it gets the report as its input",
        ) from error
