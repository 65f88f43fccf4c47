"""The commands that the pipeline's own tasks call: `mer kfp check`, `task`, `finish` and `report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

Code = Annotated[str, typer.Option("--code", metavar="HASH", help="The code that the pipeline names.")]
Only = Annotated[str, typer.Option("--only", metavar="STAGES", help="Limit the run to these.")]
RunId = Annotated[str, typer.Option("--run-id", metavar="ID", help="The Kubeflow run.")]
PlanText = Annotated[str, typer.Option("--plan", metavar="JSON", help="What the first task wrote.")]
Repository = Annotated[
    str, typer.Option("--repository", metavar="URL", help="Work in a clone of it, not in this folder.")
]


def kfp_check(  # noqa: PLR0917  typer passes by name
    edges: Annotated[str, typer.Option("--edges", metavar="JSON", help="The pipeline's stages and edges.")],
    code: Code,
    settings: Annotated[str, typer.Option("--settings", metavar="JSON", help="A list of KEY=VALUE.")] = "[]",
    decision: Annotated[
        str, typer.Option("--decision", metavar="JSON", help="If already made; default: decide now.")
    ] = "",
    only: Only = "",
    run_id: RunId = "",
    repository: Repository = "",
    branch: Annotated[str, typer.Option("--branch", metavar="NAME", help="Of the repository.")] = "main",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where the plan is written.")] = None,
) -> None:
    """The pipeline's first task: check that it matches the project and whether to train.

    \b
    Examples:
      mer kfp check --edges '{"inputs": []}' --code 3f2a…
    """
    from pipelines.kubeflow import task

    plan = task.begin(
        edges=edges,
        code=code,
        settings=settings,
        decision=decision,
        only=only,
        run_id=run_id,
        repository=repository,
        branch=branch,
    )
    if out is not None:
        out.write_text(plan.to_json(), encoding="utf-8")


def kfp_task(  # noqa: PLR0917  typer passes by name
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="The address of a stage.")],
    run_id: RunId,
    code: Code,
    only: Only = "",
    plan: PlanText = "",
    repository: Repository = "",
) -> None:
    """The pipeline's task for one stage: run it here, or as a job of the Ray cluster.

    \b
    Examples:
      mer kfp task features@ravdess --run-id 7c1e… --code 3f2a…
    """
    from pipelines.kubeflow import task

    begun = task.RunPlan.from_json(plan) if plan else None
    raise typer.Exit(task.run_stage(stage, run_id=run_id, code=code, only=only, plan=begun, repository=repository))


def kfp_finish(
    run_id: RunId,
    plan: PlanText,
    repository: Repository,
    push_options: Annotated[
        list[str] | None, typer.Option("--push-option", metavar="TEXT", help="For the Git server (repeatable).")
    ] = None,
) -> None:
    """The pipeline's last task where tasks share no folder: push the lock to retrain/RUN.

    \b
    Examples:
      mer kfp finish --run-id 7c1e… --plan '{…}' --repository https://git.example.org/mer.git
    """
    from pipelines.kubeflow import task

    begun = task.RunPlan.from_json(plan)
    print(task.finish(run_id=run_id, plan=begun, repository=repository, push_options=push_options or ()))


def kfp_report(
    state: Annotated[str, typer.Option("--state", metavar="STATE", help="SUCCEEDED, FAILED or CANCELLED.")],
    run_id: RunId,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="The error message.")] = "",
    repository: Repository = "",
) -> None:
    """The pipeline's exit task: clean up after a run and report the result to MER_WEBHOOK.

    \b
    Examples:
      mer kfp report --run-id 7c1e… --state FAILED
    """
    from pipelines.kubeflow import report
    from pipelines.project import find_root

    root = None if repository else find_root()
    print(report.report(run_id=run_id, state=state, message=message, root=root, repository=repository))


COMMANDS: Mapping[str, Callable[..., None]] = {
    "check": kfp_check,
    "task": kfp_task,
    "finish": kfp_finish,
    "report": kfp_report,
}
