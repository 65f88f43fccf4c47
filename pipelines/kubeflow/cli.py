"""The commands `mer kfp`, `mer schedule` and `mer rayjob`. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

kfp = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@kfp.command("compile")
def kfp_compile(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the pipeline.")] = Path("mer.yaml"),
) -> None:
    """Generate the Kubeflow pipeline from dvc.yaml: one task per stage, the same edges.

    \b
    Examples:
      mer kfp compile
      mer kfp compile -o build/mer.yaml
    """
    from pipelines.kubeflow import retrain

    print(retrain.compile_to(output))


@kfp.command("run")
def kfp_run(
    local: Annotated[bool, typer.Option("--local", help="With KFP's local runner, as subprocesses.")] = False,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", help="Project folder to work in (default: this one).")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address of a Kubeflow Pipelines API.")] = None,
) -> None:
    """Run the generated pipeline, here with KFP's local runner or on a cluster.

    \b
    Examples:
      mer kfp run --local
      mer kfp run --local --workspace /tmp/copy-of-the-project
      mer kfp run --host http://localhost:8888
    """
    from pipelines.kubeflow import retrain

    if local == (host is not None):
        raise typer.BadParameter("choose --local or --host ADDRESS")
    if host is not None:
        print(retrain.submit(host))
    else:
        raise typer.Exit(retrain.run_local(workspace))


def schedule(
    apply: Annotated[bool, typer.Option("--apply", help="Make the server's recurring runs equal the file.")] = False,
    host: Annotated[str | None, typer.Option("--host", help="Address of the Kubeflow Pipelines API.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Default: infra/schedules.yaml.")] = None,
) -> None:
    """Print the recurring runs of infra/schedules.yaml, what differs on the server, and apply it.

    \b
    Examples:
      mer schedule                                      what the file asks for
      mer schedule --host http://localhost:8888         what would change
      mer schedule --host http://localhost:8888 --apply
    """
    from pipelines.kubeflow import schedule as scheduling

    print(scheduling.command(apply=apply, host=host, file=file))


def rayjob(
    stage: Annotated[str | None, typer.Option("--stage", help="One stage; the whole pipeline when left out.")] = None,
    overlay: Annotated[str, typer.Option("--overlay", help="A folder of infra/overlays.")] = "dev",
) -> None:
    """Print a KubeRay RayJob that runs the pipeline, or one stage of it, on a cluster of its own.

    \b
    Examples:
      mer rayjob --overlay prod | kubectl apply -f -
      mer rayjob --stage train
    """
    from pipelines.kubeflow import rayjob as rendering

    print(rendering.manifest(stage=stage, overlay=overlay))
