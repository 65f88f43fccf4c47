"""The command `mer config`. It imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer


def config(
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
