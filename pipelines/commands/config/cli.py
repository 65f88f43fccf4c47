"""The command `mer config`. It imports its dependencies when it runs."""

from __future__ import annotations

from typing import Annotated

import typer


def config(
    name: Annotated[
        str | None,
        typer.Argument(metavar="SECTION|KEY", help="For example train, train.epochs or ravdess; default: all."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list of objects, for machines.")] = False,
) -> None:
    """Show the settings: value, origin, default, allowed values, meaning.

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
