"""The commands `mer backup` and `mer restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[
    str,
    typer.Option("--store", metavar="DIR|s3://…", help="A server's folder (databases and artifacts), or a bucket."),
]


def backup(
    store: Store,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where snapshots are kept.")],
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=1, help="How many snapshots to keep.")] = 14,
) -> None:
    """Make a snapshot of an MLflow server's folder, while it runs, or of a bucket, such as the DVC remote.

    \b
    Examples:
      mer backup --store .mer --to /backup
      mer backup --store /store --to /backup --keep 30
      mer backup --store s3://mer-dvc --to /backup/dvc      (the server and its keys: AWS_ENDPOINT_URL, …)
    """
    from pipelines.commands.backup import command

    print(command.backup(store, to, keep=keep))


def restore(
    snapshot: Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="The folder of a snapshot.")],
    store: Store,
) -> None:
    """Restore a snapshot into an MLflow server's folder or a bucket, which must be empty.

    \b
    Stop the server first. Every file is compared with its hash beforehand.

    \b
    Examples:
      mer restore /backup/2026-03-01T013000Z --store /store
      mer restore /backup/dvc/2026-03-01T013000Z --store s3://mer-dvc
    """
    from pipelines.commands.backup import command

    print(command.restore(snapshot, store))
