"""The commands `mer kfp`, `mer schedule`, `mer retrain`, `mer rayjob`. Each imports its dependencies when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.kubeflow import task_cli

if TYPE_CHECKING:
    from pipelines.kubeflow.server import Server

kfp = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
schedule = typer.Typer(rich_markup_mode=None)

# The variables are those that KFP's own client reads.
Host = Annotated[
    str | None,
    typer.Option("--host", metavar="URL", envvar="KF_PIPELINES_ENDPOINT", help="Address of Kubeflow Pipelines."),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", metavar="NAME", help="The profile, on a server for several users.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", envvar="KF_PIPELINES_SA_TOKEN_PATH", help="File with a bearer token."),
]
ServiceAccount = Annotated[
    str | None, typer.Option("--service-account", metavar="NAME", help="Of the tasks; default: the server's.")
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="CA certificates to verify the server (PEM).")
]
File = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Default: infra/schedules.yaml.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of a recurring run.")]


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
    from pipelines.kubeflow import generate

    print(generate.compile_to(output))


@kfp.command("run")
def kfp_run(  # noqa: PLR0917  typer passes by name
    local: Annotated[bool, typer.Option("--local", help="Use KFP's local runner, with subprocesses.")] = False,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", metavar="DIR", help="Project folder to work in; default: this one.")
    ] = None,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    service_account: ServiceAccount = None,
    ca_file: CaFile = None,
) -> None:
    """Run the generated pipeline, locally or on a cluster.

    \b
    Examples:
      mer kfp run --local
      mer kfp run --local --workspace /tmp/copy-of-the-project
      mer kfp run --host http://localhost:8888
      mer kfp run --host https://kubeflow.example.org/pipeline --namespace team-a --token-file token
    """
    from pipelines.kubeflow import generate

    if local:
        if host is not None:
            raise typer.BadParameter("choose --local or --host ADDRESS")
        raise typer.Exit(generate.run_local(workspace))
    print(generate.submit(_server(host, namespace, token_file, service_account, ca_file)))


for _name, _command in task_cli.COMMANDS.items():
    kfp.command(_name)(_command)


@schedule.callback(invoke_without_command=True)
def schedule_printed(context: typer.Context, file: File = None) -> None:
    """Print, compare and apply the recurring runs.

    \b
    They are declared in infra/schedules.yaml. Without a command, it prints the
    file's runs and contacts no server.

    \b
    Examples:
      mer schedule                                       the file's runs
      mer schedule diff --host http://localhost:8888     what `apply` would do
      mer schedule apply --host http://localhost:8888
      mer schedule pause mer-nightly --host http://localhost:8888
    """
    if context.invoked_subcommand is None:
        from pipelines.kubeflow import schedule as scheduling

        print(scheduling.printed(file))


@schedule.command("list")
def schedule_list(
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    file: File = None,
) -> None:
    """Print the recurring runs that the server has.

    \b
    Examples:
      mer schedule list --host http://localhost:8888
    """
    from pipelines.kubeflow import schedule as scheduling

    print(scheduling.list_runs(_server(host, namespace, token_file, None, ca_file), file))


@schedule.command("diff")
def schedule_diff(
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    file: File = None,
) -> None:
    """Print what `apply` would do. Changes nothing on the server.

    \b
    Examples:
      mer schedule diff --host http://localhost:8888
    """
    from pipelines.kubeflow import schedule as scheduling

    print(scheduling.diff(_server(host, namespace, token_file, None, ca_file), file))


@schedule.command("apply")
def schedule_apply(  # noqa: PLR0917  typer passes by name
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    service_account: ServiceAccount = None,
    ca_file: CaFile = None,
    file: File = None,
) -> None:
    """Upload the pipeline as a version and make the server's recurring runs match the file.

    \b
    Examples:
      mer schedule apply --host http://localhost:8888
      mer schedule apply --host https://kubeflow.example.org/pipeline --namespace team-a --token-file token
    """
    from pipelines.kubeflow import schedule as scheduling

    print(scheduling.apply(_server(host, namespace, token_file, service_account, ca_file), file))


@schedule.command("pause")
def schedule_pause(  # noqa: PLR0917  typer passes by name
    name: Name,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    file: File = None,
) -> None:
    """Pause a recurring run on the server. A run in progress continues.

    \b
    Examples:
      mer schedule pause mer-nightly --host http://localhost:8888
    """
    from pipelines.kubeflow import schedule as scheduling

    print(scheduling.switch(_server(host, namespace, token_file, None, ca_file), file, name, on=False))


@schedule.command("resume")
def schedule_resume(  # noqa: PLR0917  typer passes by name
    name: Name,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    file: File = None,
) -> None:
    """Resume a recurring run on the server.

    \b
    Examples:
      mer schedule resume mer-nightly --host http://localhost:8888
    """
    from pipelines.kubeflow import schedule as scheduling

    print(scheduling.switch(_server(host, namespace, token_file, None, ca_file), file, name, on=True))


@schedule.command("run-now")
def schedule_run_now(  # noqa: PLR0917  typer passes by name
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Run what this schedule runs; default: the whole pipeline.")
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="Only this stage and the stages it depends on (repeatable)."),
    ] = None,
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", metavar="NAME", help="Only stages of this dataset (repeatable).")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Write a value into params.yaml first (YAML; repeatable)."),
    ] = None,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    service_account: ServiceAccount = None,
    ca_file: CaFile = None,
    file: File = None,
) -> None:
    """Start one run now, unless one is unfinished.

    \b
    Examples:
      mer schedule run-now mer-nightly --host http://localhost:8888
      mer schedule run-now --stage features --dataset ravdess --host http://localhost:8888
      mer schedule run-now --set train.epochs=60 --host http://localhost:8888
    """
    from pipelines.kubeflow import schedule as scheduling

    server = _server(host, namespace, token_file, service_account, ca_file)
    print(
        scheduling.run_now(server, file, name, stages=stages or (), datasets=datasets or (), settings=assignments or ())
    )


def _server(
    host: str | None,
    namespace: str | None,
    token_file: Path | None,
    service_account: str | None,
    ca_file: Path | None,
) -> Server:
    from pipelines.kubeflow.server import Server

    if host is None:
        raise typer.BadParameter("a server is needed: --host ADDRESS, or KF_PIPELINES_ENDPOINT in the environment")
    return Server(
        host=host, namespace=namespace, token_file=token_file, service_account=service_account, ca_file=ca_file
    )


def retrain(  # noqa: PLR0917  typer passes by name
    if_needed: Annotated[bool, typer.Option("--if-needed", help="Only if there is a cause.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the decision and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as one line of JSON.")] = False,
    drift: Annotated[
        str | None,
        typer.Option("--report-drift", metavar="TEXT", help="Note drift on the served version, for the next decision."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host", metavar="URL", help="Run on this Kubeflow Pipelines, named by the causes; default: here."
        ),
    ] = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    service_account: ServiceAccount = None,
    ca_file: CaFile = None,
) -> None:
    """Retrain if there is a cause, and record why.

    \b
    Causes are new or changed recordings and labels, changed parameters or code,
    people who withdrew, a report of drift, and a served version older than
    retrain.max_age_days. They are printed, and written to the version and its
    run in MLflow. With nothing to do the exit code is 0.

    \b
    Examples:
      mer retrain --if-needed               for cron or systemd: infra/systemd
      mer retrain --if-needed --dry-run     what it would do, and why
      mer retrain --report-drift "a third of the clips is unlike the training data"
      mer retrain --if-needed --host https://kubeflow.example.org/pipeline --namespace team-a
    """
    from pipelines.commands import retrain as retraining

    if drift is not None:
        return retraining.report_drift(drift)
    server = None if host is None else _server(host, namespace, token_file, service_account, ca_file)
    raise typer.Exit(retraining.run(if_needed=if_needed, dry_run=dry_run, as_json=as_json, server=server))


def rayjob(
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="STAGE", help="Only this stage; default: the whole pipeline.")
    ] = None,
    overlay: Annotated[str, typer.Option("--overlay", metavar="NAME", help="A folder of infra/overlays.")] = "dev",
) -> None:
    """Print a KubeRay RayJob that runs the pipeline or one stage.

    \b
    The job starts its own cluster.

    \b
    Examples:
      mer rayjob --overlay prod | kubectl apply -f -
      mer rayjob --stage train
    """
    from pipelines.kubeflow import rayjob as rendering

    print(rendering.manifest(stage=stage, overlay=overlay))
