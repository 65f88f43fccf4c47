"""The command `mer`. Each command imports what it needs when it runs, so that `mer --help` costs nothing.

Exit codes: 0 done · 2 configuration or command line · 3 data · 4 data contract · 5 model · 6 rollout · 7 something
needed is not there · 130 interrupted · 1 a defect of the program (with its traceback).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer._click.exceptions import UsageError  # has no public name; the lock pins typer

from components.contracts.errors import MerError
from pipelines.commands.datasets import cli as cli_datasets
from pipelines.commands.quarantine import cli as cli_quarantine
from pipelines.stages import STAGES, Stage

INTERRUPTED = 130
DEFECT = 1

app = typer.Typer(
    name="mer",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Multimodal emotion recognition over time: from raw clips to a promoted, served model.\n\n\b\n"
    "Examples:\n  mer run                  the main job, end to end; nothing when nothing changed\n"
    "  mer serve                MLflow UI, the service and the reconciler, on loopback\n"
    "  mer predict clip.mp4     what a clip shows, without a server\n"
    "  mer describe             every stage with what it reads and writes",
)
kfp_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Dataset = Annotated[str, typer.Option("--dataset", help="A name from `datasets` in params.yaml.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mer {version('mer')}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of `mer` itself; the help text is the app's."""


@app.command()
def run(
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Write a value into params.yaml first (YAML; repeatable)."),
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", help="Only up to this stage and what it needs (repeatable)."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", help="This stage alone, nothing before it; what a Kubeflow task runs."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run stages that did not change too.")] = False,
) -> None:
    """Run the whole line: `dvc repro` over dvc.yaml with one Ray, then a summary.

    \b
    Stages whose inputs did not change are skipped; when none changed it says so
    and ends. After a failure or Ctrl-C, `mer run` goes on where it stopped.

    \b
    Examples:
      mer run
      mer run --set train.epochs=60 --set model.width=128
      mer run --set datasets='[ravdess]' --set ravdess.root=/data/ravdess
      mer run --stage features
      mer run --only alignment@synthetic
    """
    from pipelines import run as pipeline

    if only is not None:
        if assignments or stages or force:
            raise typer.BadParameter("--only goes with no other option")
        raise typer.Exit(pipeline.run_alone(only))
    raise typer.Exit(pipeline.run(assignments=assignments or (), targets=stages or (), force=force))


def _command_of(stage: Stage) -> Callable[..., None]:
    """The command of a line of the stage table."""

    def once() -> None:
        from pipelines.stage import run as run_stage

        run_stage(stage.name)

    def once_per_dataset(dataset: Dataset) -> None:
        from pipelines.stage import run as run_stage

        run_stage(stage.name, dataset)

    return once_per_dataset if stage.per_dataset else once


for _stage in STAGES.values():
    if _stage.name != cli_datasets.STAGE:  # its command has commands of its own beside the stage
        _example = f"mer {_stage.name}{' --dataset synthetic' if _stage.per_dataset else ''}"
        _help = f"Stage: {_stage.says}.\n\n\b\nExamples:\n  {_example}"
        app.command(_stage.name, help=_help)(_command_of(_stage))


@app.command()
def accept(
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this one.")] = None,
) -> None:
    """Say that the data are as they should be; later ones are compared with them.

    \b
    Writes baselines/<dataset>.json, which belongs into version control. When data
    have moved too far from it, `mer run` stops in `validation` and says how.

    \b
    Examples:
      mer accept
      mer accept --dataset ravdess
    """
    from pipelines.commands import accept as command

    print(command.accept(dataset=dataset))


@app.command()
def ablate(  # noqa: PLR0917  typer passes by name
    variants: Annotated[
        str | None, typer.Option("--variants", metavar="A,B,…", help="These and the default; all when left out.")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Trainings a variant and fold; a claim needs 5.")] = None,
    folds: Annotated[
        str | None, typer.Option("--folds", help="A number, `corpus` (as published) or `dataset` (leave one out).")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="In the place of train.epochs.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Trainings at a time, a core each; 0: in this process, without Ray.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the report's folder.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Write a value into params.yaml first (YAML; repeatable)."),
    ] = None,
) -> None:
    """Compare variants of the model and its training on people they never saw, by cross-validation.

    \b
    Every training is kept, so an interrupted ablation goes on where it stopped
    and one more variant costs only itself. Options count for this call; what is
    left out stands in the section `ablate` of params.yaml.

    \b
    Examples:
      mer ablate
      mer ablate --variants concatenation,one_way --seeds 2 --epochs 10
      mer ablate --folds corpus --set datasets='[ravdess]' --set ravdess.root=/data/ravdess
    """
    from pipelines.commands import ablate as ablation

    overrides = {
        "variants": None if variants is None else [one.strip() for one in variants.split(",") if one.strip()],
        "seeds": seeds,
        "folds": int(folds) if folds is not None and folds.isdecimal() else folds,
        "epochs": epochs,
        "workers": workers,
        "name": name,
    }
    raise typer.Exit(ablation.run(assignments=assignments or (), overrides=overrides))


@app.command()
def describe(
    short: Annotated[bool, typer.Option("--short", help="One line a stage.")] = False,
) -> None:
    """The whole pipeline: each stage with its command, what it reads and what it writes.

    \b
    Examples:
      mer describe
      mer describe --short
    """
    from pipelines.commands import describe as description

    print(description.pipeline(short=short))


@app.command("config")
def config_command(
    name: Annotated[
        str | None, typer.Argument(metavar="SECTION|KEY", help="Such as train, train.epochs or ravdess; default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list of objects, for machines.")] = False,
) -> None:
    """The settings: present value, where it comes from, default, what is allowed, what it means.

    \b
    Examples:
      mer config
      mer config train
      mer config train.epochs
      mer config ravdess
      mer config --json | jq '.[] | select(.origin != "default")'
    """
    from pipelines.commands.config import command

    print(command.command(name, as_json=as_json))


@kfp_app.command("compile")
def kfp_compile(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the pipeline.")] = Path("mer.yaml"),
) -> None:
    """Generate the Kubeflow pipeline from dvc.yaml: one task a stage, the same edges.

    \b
    Examples:
      mer kfp compile
      mer kfp compile -o build/mer.yaml
    """
    from pipelines.kubeflow import retrain

    print(retrain.compile_to(output))


@kfp_app.command("run")
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


@app.command()
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


@app.command()
def rayjob(
    stage: Annotated[str | None, typer.Option("--stage", help="One stage; the whole line when left out.")] = None,
    overlay: Annotated[str, typer.Option("--overlay", help="A folder of infra/overlays.")] = "dev",
) -> None:
    """Print a KubeRay RayJob that runs the line, or one stage of it, on a cluster of its own.

    \b
    Examples:
      mer rayjob --overlay prod | kubectl apply -f -
      mer rayjob --stage train
    """
    from pipelines.kubeflow import rayjob as rendering

    print(rendering.manifest(stage=stage, overlay=overlay))


@app.command()
def serve(
    service: Annotated[bool, typer.Option("--service/--no-service", help="The Ray Serve app and reconciler.")] = True,
    port: Annotated[int | None, typer.Option("--port", help="The service's; default: serving.port.")] = None,
    mlflow_port: Annotated[int | None, typer.Option("--mlflow-port", help="Default: serving.mlflow_port.")] = None,
) -> None:
    """MLflow UI, the service and the reconciler, on loopback; prints their addresses.

    \b
    Examples:
      mer serve
      mer serve --port 8080
      mer serve --no-service         only the MLflow UI
    """
    from pipelines.commands import serve as serving

    serving.run(service=service, port=port, mlflow_port=mlflow_port)


@app.command()
def predict(
    clips: Annotated[list[Path], typer.Argument(help="Clips: video, audio, or a folder of them.")],
    transcript: Annotated[str | None, typer.Option("--transcript", help="What is said, as text or @FILE.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="A version or alias; default: champion.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a clip, for machines.")] = False,
) -> None:
    """What a clip shows over time, how sure the model is, and whether face, voice and words agree.

    \b
    Examples:
      mer predict clip.mp4
      mer predict clip.mp4 --transcript "what a day" --json
    """
    from pipelines.commands import predict as predicting

    raise typer.Exit(predicting.run(clips, transcript=transcript, version=version, as_json=as_json))


@app.command()
def submit(
    frames: Annotated[Path, typer.Argument(help="The challenge's list: lines video/00001.jpg, or names of videos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("predictions.txt"),
    version: Annotated[str | None, typer.Option("--version", help="A version or alias; default: champion.")] = None,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", help="Crops and recordings; default: affwild2.root of params.yaml.")
    ] = None,
    fill: Annotated[
        str | None, typer.Option("--fill", metavar="CLASS", help="For frames of videos that cannot be judged.")
    ] = None,
) -> None:
    """Write a submission to the expression challenge of ABAW: a class for every frame of its list.

    \b
    Examples:
      mer submit EXPR_test_set.txt
      mer submit EXPR_test_set.txt --corpus /data/affwild2 --out predictions.txt --fill neutral
    """
    from pipelines.commands import abaw

    raise typer.Exit(abaw.run(frames, out, version=version, corpus=corpus, fill=fill))


@app.command()
def reconcile(
    once: Annotated[bool, typer.Option("--once", help="One pass, then end.")] = False,
    attach: Annotated[
        bool, typer.Option("--attach", help="A RayService declares the application; change only its version.")
    ] = False,
    heartbeat: Annotated[Path | None, typer.Option(help="A file to touch after every step that worked.")] = None,
) -> None:
    """Make the served version follow the alias in the registry.

    \b
    Examples:
      mer reconcile --once
      mer reconcile --attach --heartbeat /tmp/mer-reconciler
    """
    from pipelines.commands import serve as serving

    serving.reconcile(once=once, attach=attach, heartbeat=heartbeat)


@app.command()
def withdraw(
    subject: Annotated[str, typer.Option("--subject", help="A subject id as the clip tables have it.")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="Where to look; everywhere when left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")] = False,
) -> None:
    """Take a person out: tables, features, caches; recorded, and marked on every version made with them.

    \b
    Examples:
      mer withdraw --subject ravdess/01 --dry-run
      mer withdraw --subject ravdess/01
      mer withdraw --subject 01 --dataset ravdess
    """
    from pipelines.commands.withdrawal import withdraw as withdrawing

    print(withdrawing.command(subject, dataset=dataset, dry_run=dry_run))


app.add_typer(cli_datasets.app, name="datasets")
app.add_typer(kfp_app, name="kfp", help="The Kubeflow pipeline, generated from dvc.yaml.")
app.add_typer(cli_quarantine.app, name="quarantine", help="What was set aside, and why.")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and ends the process with its exit code."""
    sys.exit(call(arguments))


def call(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; errors are printed to standard error."""
    try:
        code = app(list(arguments) if arguments is not None else None, standalone_mode=False) or 0
    except UsageError as error:
        error.show()
        return error.exit_code
    except MerError as error:
        print(block(error), file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        print(
            "\nThis is a defect of mer, not of your input. Please report it with the lines above.",
            file=sys.stderr,
        )
        return DEFECT
    if code == INTERRUPTED:  # typer turns KeyboardInterrupt into this code by itself
        print("\nInterrupted. Finished work is kept.", file=sys.stderr)
    return int(code)


def block(error: MerError) -> str:
    """An error of the project's tree as one block of lines."""
    rows = [
        ("where", error.where),
        ("seen", error.seen),
        ("allowed", error.allowed),
        ("try", error.remedy),
    ]
    lines = [f"error ({error.code}): {error.what}"]
    lines += [f"  {name:<8} {value}" for name, value in rows if value not in (None, "")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
