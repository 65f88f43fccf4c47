"""`mer quarantine`: what was set aside, why, and what becomes of it. Imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def quarantine_list(
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Only what this stage set aside.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """What was set aside, by which stage, and why.

    \b
    Examples:
      mer quarantine list
      mer quarantine list --dataset ravdess --stage alignment
      mer quarantine list --json | jq .code
    """
    from pipelines.commands.quarantine import listing as quarantine

    print(quarantine.listing(dataset=dataset, stage=stage, as_json=as_json))


@app.command("show")
def quarantine_show(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A clip id, as `list` prints it.")],
) -> None:
    """All about one clip that was set aside: why, whose, which files, what to do.

    \b
    Examples:
      mer quarantine show ravdess/Actor_03/03-01-08-01-01-01-03
    """
    from pipelines.commands.quarantine import listing as quarantine

    print(quarantine.show(clip))


@app.command("readmit")
def quarantine_readmit(
    clips: Annotated[list[str] | None, typer.Argument(metavar="[CLIP]...", help="Clip ids.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="Every clip that was set aside for this.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every clip.")] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Take them as they are, and say why; it stands on the model card.")
    ] = None,
) -> None:
    """Let the next run try clips again, or, with a reason, take them as they are.

    \b
    The decision stands in readmitted.csv, which belongs into version control.
    A mended file or label needs none: it is tried again by itself.

    \b
    Examples:
      mer quarantine readmit ravdess/03-01-08-01-01-01-03
      mer quarantine readmit --code crashed
      mer quarantine readmit manifest/a7 --reason "twins, not one person"
    """
    from pipelines.commands.quarantine import readmit

    print(readmit.readmit(clips or (), code=code, everything=everything, reason=reason))
