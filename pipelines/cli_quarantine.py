"""`mer quarantine`: what was set aside. Imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def quarantine_list(
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Only what this stage set aside.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What was set aside, by which stage, and why.

    \b
    Examples:
      mer quarantine list
      mer quarantine list --dataset ravdess --stage alignment
      mer quarantine list --json | jq .code
    """
    from pipelines import quarantine

    print(quarantine.listing(dataset=dataset, stage=stage, as_json=as_json))
