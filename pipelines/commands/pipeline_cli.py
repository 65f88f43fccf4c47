"""Commands of the pipeline: run it, run a stage, accept its data, compare variants, describe it.

Each imports what it needs when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from pipelines.commands.datasets.cli import STAGE as DATASETS
from pipelines.stages import STAGES, Stage

Dataset = Annotated[str, typer.Option("--dataset", help="A name from `datasets` in params.yaml.")]


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
    """Run the whole pipeline: `dvc repro` over dvc.yaml with one Ray, then a summary.

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
    command.__doc__ = f"Stage: {stage.says}.\n\n\b\nExamples:\n  {example}"
    return command


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


def ablate(  # noqa: PLR0917  typer passes by name
    variants: Annotated[
        str | None, typer.Option("--variants", metavar="A,B,…", help="These and the default; all when left out.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="Trainings per variant and fold; a claim needs 5.")
    ] = None,
    folds: Annotated[
        str | None, typer.Option("--folds", help="A number, `corpus` (as published) or `dataset` (leave one out).")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="In place of train.epochs.")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Trainings at a time, one core each; 0: in this process, without Ray."),
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


def describe(
    short: Annotated[bool, typer.Option("--short", help="One line per stage.")] = False,
) -> None:
    """The whole pipeline: each stage with its command, what it reads and what it writes.

    \b
    Examples:
      mer describe
      mer describe --short
    """
    from pipelines.commands import describe as description

    print(description.pipeline(short=short))
