"""The command `mer withdraw`. It imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer


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
