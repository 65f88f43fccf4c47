"""The commands `mer kfp`, `mer schedule` and `mer rayjob`. Each imports its dependencies when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

kfp = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@kfp.command("compile")
def kfp_compile(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")] = Path(
        "mer.yaml"
    ),
) -> None:
    """Generate the Kubeflow pipeline from dvc.yaml.

    \b
    It has one task per stage and the same edges.

    \b
    Examples:
      mer kfp compile
      mer kfp compile -o build/mer.yaml
    """
    from pipelines.kubeflow import retrain

    print(retrain.compile_to(output))


@kfp.command("run")
def kfp_run(
    local: Annotated[bool, typer.Option("--local", help="Use KFP's local runner, with subprocesses.")] = False,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", metavar="DIR", help="Project folder to work in; default: this one.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="URL", help="Address of a Kubeflow Pipelines API.")
    ] = None,
) -> None:
    """Run the generated pipeline, locally or on a cluster.

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
    apply: Annotated[bool, typer.Option("--apply", help="Make the server's recurring runs match the file.")] = False,
    host: Annotated[
        str | None, typer.Option("--host", metavar="URL", help="Address of the Kubeflow Pipelines API.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Default: infra/schedules.yaml.")] = None,
) -> None:
    """Print, compare or apply the recurring runs.

    \b
    The runs are declared in infra/schedules.yaml and compared with a server.

    \b
    Examples:
      mer schedule                                      print the file's runs
      mer schedule --host http://localhost:8888         print the differences
      mer schedule --host http://localhost:8888 --apply
    """
    from pipelines.kubeflow import schedule as scheduling

    print(scheduling.command(apply=apply, host=host, file=file))


def rayjob(
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="STAGE", help="Only this stage; default: the whole pipeline.")
    ] = None,
    overlay: Annotated[str, typer.Option("--overlay", metavar="NAME", help="A folder of infra/overlays.")] = "dev",
) -> None:
    """Print a KubeRay RayJob that runs the pipeline or one stage.

    \b
    The job starts a cluster of its own.

    \b
    Examples:
      mer rayjob --overlay prod | kubectl apply -f -
      mer rayjob --stage train
    """
    from pipelines.kubeflow import rayjob as rendering

    print(rendering.manifest(stage=stage, overlay=overlay))
