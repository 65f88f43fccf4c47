"""`mer datasets`: the stage, and what a data engineer asks before and after it. Imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def datasets(
    context: typer.Context,
    dataset: Annotated[str | None, typer.Option("--dataset", help="A name from `datasets` in params.yaml.")] = None,
) -> None:
    """Stage: a corpus on disk, or rendered, to its clip table. `list` shows the adapters.

    \b
    Examples:
      mer datasets --dataset synthetic
      mer datasets list
    """
    if context.invoked_subcommand is not None:
        return
    if dataset is None:
        raise typer.BadParameter("name a dataset, or ask for `mer datasets list`", param_hint="--dataset")
    from pipelines import datasets as stage

    stage.run(dataset)


@app.command("list")
def datasets_list() -> None:
    """The corpora this project can read: licence, and the options of each one's section in params.yaml.

    \b
    Examples:
      mer datasets list
    """
    from pipelines import describe

    print(describe.adapters())
