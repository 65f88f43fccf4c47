"""Commands of the pipeline: run it, run a stage, accept its data, compare variants, repeat a training, describe it.

Each command imports its dependencies when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from pipelines.commands.datasets.cli import STAGE as DATASETS
from pipelines.stages import STAGES, Stage

Dataset = Annotated[str, typer.Option("--dataset", metavar="NAME", help="A name from `datasets` in params.yaml.")]


def run(
    *,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Write a value into params.yaml first (YAML; repeatable)."),
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="Only this stage and the stages it depends on (repeatable)."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="STAGE", help="Only this stage, none before it; used by Kubeflow tasks."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also run unchanged stages.")] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Write a trace of some steps of training to .mer/profile and to the MLflow run "
            "(of runtime.profile_steps, else of 5).",
        ),
    ] = False,
    code: Annotated[
        str | None,
        typer.Option("--code", metavar="HASH", help="Refuse different code; `same`: that of the project."),
    ] = None,
) -> None:
    """Run the whole pipeline and print a summary.

    \b
    Runs `dvc repro` on dvc.yaml, with one Ray for all stages. Unchanged stages are
    skipped. After a failure or Ctrl-C, `mer run` resumes where it stopped.

    \b
    Examples:
      mer run
      mer run --set train.epochs=60 --set model.width=128
      mer run --set datasets='[ravdess]' --set ravdess.root=/data/ravdess
      mer run --stage features
      mer run --profile
      mer run --only alignment@synthetic
    """
    from pipelines import run as pipeline

    if code is not None:
        from pipelines.code import check_code
        from pipelines.project import find_root

        check_code(find_root(), code)
    if only is not None:
        if assignments or stages or force or profile:
            raise typer.BadParameter("--only cannot be combined with other options")
        raise typer.Exit(pipeline.run_alone(only))
    raise typer.Exit(pipeline.run(assignments=assignments or (), targets=stages or (), force=force, profile=profile))


def stage_commands() -> Mapping[str, Callable[..., None]]:
    """A command per line of the stage table; `datasets` has commands of its own beside the stage."""
    return {stage.name: _command_of(stage) for stage in STAGES.values() if stage.name != DATASETS}


def _command_of(stage: Stage) -> Callable[..., None]:
    def once() -> None:
        from pipelines.stage import run as run_stage

        run_stage(stage.name)

    def once_per_dataset(dataset: Dataset) -> None:
        from pipelines.stage import run as run_stage

        run_stage(stage.name, dataset)

    command = once_per_dataset if stage.per_dataset else once
    example = f"mer {stage.name}{' --dataset synthetic' if stage.per_dataset else ''}"
    command.__doc__ = f"Stage: {stage.summary}.\n\n\b\nExamples:\n  {example}"
    return command


def accept(
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Only this dataset; default: all in use.")
    ] = None,
) -> None:
    """Accept the current data as the baseline for later data.

    \b
    Writes baselines/<dataset>.json, to be committed. When later data drift too
    far from it, `mer run` stops in `validation` and reports the differences.

    \b
    Examples:
      mer accept
      mer accept --dataset ravdess
    """
    from pipelines.commands import accept as command

    print(command.accept(dataset=dataset))


def ablate(  # noqa: PLR0917  typer passes by name
    variants: Annotated[
        str | None, typer.Option("--variants", metavar="A,B,…", help="Compare these with the default; default: all.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", help="Training runs per variant and fold; at least 5 to support a claim."),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            "--folds", metavar="FOLDS", help="A number, `corpus` (as published) or `dataset` (leave one out)."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Overrides train.epochs.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Parallel training runs, one core each; 0: in this process, without Ray."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the report's folder.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Write a value into params.yaml first (YAML; repeatable)."),
    ] = None,
) -> None:
    """Compare variants of the model and its training by cross-validation.

    \b
    Each fold tests on people who are not in its training data. All results are
    kept, so an interrupted ablation resumes where it stopped, and adding a variant
    trains only that one. Options apply to this call only; the others come from the
    section `ablate` of params.yaml.

    \b
    Examples:
      mer ablate
      mer ablate --variants concatenation,one_way --seeds 2 --epochs 10
      mer ablate --folds corpus --set datasets='[ravdess]' --set ravdess.root=/data/ravdess
    """
    from pipelines.commands import ablate as ablation

    overrides = {
        "variants": None
        if variants is None
        else [variant.strip() for variant in variants.split(",") if variant.strip()],
        "seeds": seeds,
        "folds": int(folds) if folds is not None and folds.isdecimal() else folds,
        "epochs": epochs,
        "workers": workers,
        "name": name,
    }
    raise typer.Exit(ablation.run(assignments=assignments or (), overrides=overrides))


def tune(
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Write a value into params.yaml first (YAML; repeatable)."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the best values into params.yaml.")] = False,
) -> None:
    """Search for better settings of the model and its training.

    \b
    The section tune of params.yaml names the settings, their ranges and the number
    of trials. Trials are scored on the calibration split, never on the test split;
    those that fall behind are stopped early. The best one is shown as a change of
    params.yaml, which is made only with --apply. A stopped search resumes, and one
    with more trials or different ranges builds on earlier results.

    \b
    Examples:
      mer tune
      mer tune --set tune.ranges='{model.dropout: {low: 0.0, high: 0.5}}' --set tune.trials=10
      mer tune --apply
    """
    from pipelines.commands import tune as tuning

    raise typer.Exit(tuning.run(assignments=assignments or (), apply=apply))


def reproduce(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A number or an alias.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of `runtime` or `ray` for this machine."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the checkout even if the weights are equal.")] = False,
) -> None:
    """Train a registered version again and compare the two.

    \b
    Checks out its commit under .mer/reproduce, fetches its data with DVC and
    trains with the code, parameters and data that the version records. If the
    weights are not equal, it shows which settings, versions and hardware differ,
    and by how much the metrics changed (exit code 5). After Ctrl-C the same
    command resumes. Your files, your MLflow and the registry do not change.

    \b
    Examples:
      mer reproduce 3
      mer reproduce champion --set runtime.workers=0
    """
    from pipelines.reproduction import run as reproduction

    raise typer.Exit(reproduction.run(version, assignments=assignments or (), keep=keep))


def describe(
    short: Annotated[bool, typer.Option("--short", help="One line per stage.")] = False,
) -> None:
    """Print each stage with its command, its inputs and its outputs.

    \b
    Examples:
      mer describe
      mer describe --short
    """
    from pipelines.commands import describe as description

    print(description.pipeline(short=short))
