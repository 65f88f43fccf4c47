"""`mer quarantine`: the clips that were set aside, the reasons, and decisions about them.

Each command imports its dependencies when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def quarantine_list(
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this dataset.")] = None,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="STAGE", help="Only clips that this stage set aside.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the clips that were set aside, by which stage and why.

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
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A clip id, as printed by `list`.")],
) -> None:
    """Show one clip that was set aside.

    \b
    Prints the reasons, the person, the files and the remedies.

    \b
    Examples:
      mer quarantine show ravdess/Actor_03/03-01-08-01-01-01-03
    """
    from pipelines.commands.quarantine import listing as quarantine

    print(quarantine.show(clip))


@app.command("readmit")
def quarantine_readmit(
    clips: Annotated[list[str] | None, typer.Argument(metavar="CLIP", help="Clip ids.")] = None,
    code: Annotated[
        str | None, typer.Option("--code", metavar="CODE", help="Every clip that was set aside for this reason.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every clip.")] = False,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason", metavar="TEXT", help="Accept the clips as they are; the reason is printed on the model card."
        ),
    ] = None,
) -> None:
    """Retry clips in the next run, or accept them as they are.

    \b
    With --reason they are accepted as they are. The decision is written to
    readmitted.csv, to be committed. A corrected file or label needs no decision:
    it is retried automatically.

    \b
    Examples:
      mer quarantine readmit ravdess/03-01-08-01-01-01-03
      mer quarantine readmit --code crashed
      mer quarantine readmit manifest/a7 --reason "twins, not one person"
    """
    from pipelines.commands.quarantine import readmit

    print(readmit.readmit(clips or (), code=code, everything=everything, reason=reason))
