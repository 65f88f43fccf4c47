"""The command `mer withdraw`. It imports its dependencies when it runs."""

from __future__ import annotations

from typing import Annotated

import typer


def withdraw(
    subject: Annotated[str, typer.Option("--subject", metavar="ID", help="A subject id as in the clip tables.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="The dataset of the person; default: all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes without making them.")] = False,
) -> None:
    """Remove a person who withdrew their consent.

    \b
    Records the withdrawal, removes the person from tables, features and caches,
    and marks every model version whose data contained them.

    \b
    Examples:
      mer withdraw --subject ravdess/01 --dry-run
      mer withdraw --subject ravdess/01
      mer withdraw --subject 01 --dataset ravdess
    """
    from pipelines.commands.withdrawal import withdraw as withdrawing

    print(withdrawing.command(subject, dataset=dataset, dry_run=dry_run))
