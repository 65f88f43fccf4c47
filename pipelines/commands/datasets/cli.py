"""`mer datasets`: the stage, and what a data engineer asks before and after it. Imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="A name that `mer datasets list` shows.")]

Root = Annotated[
    str | None, typer.Option("--root", metavar="DIR", help="The corpus's folder, in the place of `NAME.root`.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value of params.yaml, for this call only (repeatable)."),
]

STAGE = "datasets"

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
    from pipelines import stage

    stage.run(STAGE, dataset)


@app.command("list")
def datasets_list() -> None:
    """The corpora this project can read: what they bring, their licence, whether they can be downloaded.

    \b
    Examples:
      mer datasets list
    """
    from pipelines.commands.datasets import describe

    print(describe.listing())


@app.command("describe")
def datasets_describe(name: Name) -> None:
    """A corpus: its layout on disk, options, labels, splits, licence, and how to get it.

    \b
    Examples:
      mer datasets describe ravdess
    """
    from pipelines.commands.datasets import describe as description

    print(description.describe(name))


@app.command("check")
def datasets_check(
    name: Name,
    root: Root = None,
    assignments: Assignments = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 if a single clip would be skipped.")] = False,
) -> None:
    """What would be used of a corpus, what skipped and why, before anything is processed.

    \b
    Nothing is written and params.yaml stays as it is. Exit code 3: not one clip
    can be used.

    \b
    Examples:
      mer datasets check ravdess --root /data/ravdess
      mer datasets check cremad --root /data/CREMA-D --set cremad.label=voice
      mer datasets check folder --json | jq .reasons
    """
    from pipelines.commands.datasets import check as checking

    text, code = checking.command(name, root=root, assignments=assignments or (), as_json=as_json, strict=strict)
    print(text)
    raise typer.Exit(code)


@app.command("add")
def datasets_add(
    name: Annotated[str, typer.Argument(help="What the dataset is to be called in params.yaml.")],
    title: Annotated[str, typer.Option("--title", help="The corpus's own name.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="The terms of the corpus.")] = "not stated yet",
) -> None:
    """Begin a new corpus: an adapter that works, its fixture, its test, its section of params.yaml.

    \b
    Examples:
      mer datasets add moodbox
      mer datasets add moodbox --title "Moodbox 2" --licence "CC BY 4.0"
    """
    from pipelines.commands.datasets import add as adding

    print(adding.words(name, adding.add(name, title=title, licence=licence)))


@app.command("download")
def datasets_download(  # noqa: PLR0917  typer passes by name
    name: Name,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Default: `NAME.root` of params.yaml, or corpora/NAME.")
    ] = None,
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="A part of the corpus, as `describe` names them (repeatable)."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the licence and will keep it.")
    ] = False,
    mirror: Annotated[
        str | None, typer.Option("--mirror", metavar="URL", help="Has the files as URL/<host>/<path>.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep archives after unpacking.")] = False,
) -> None:
    """Fetch an openly licensed corpus; for the others, say where and how to apply.

    \b
    Interrupted, the same command goes on where it stopped. Everything is held
    against the checksums that the corpus publishes, or against the first download.

    \b
    Examples:
      mer datasets download emodb --accept-licence
      mer datasets download ravdess --part speech-sound --to /data/ravdess --accept-licence
      mer datasets download iemocap        says where to apply
    """
    from pipelines.commands.datasets import download as downloading

    print(downloading.command(name, to=to, parts=parts or (), accept=accept, mirror=mirror, keep=keep))


@app.command("preview")
def datasets_preview(
    name: Name,
    root: Root = None,
    assignments: Assignments = None,
    clips: Annotated[int, typer.Option("--clips", help="How many are shown.")] = 12,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: preview-NAME.html here.")
    ] = None,
) -> None:
    """A page to look at: aligned faces, sound, words and labels of some clips, and the balance of all.

    \b
    What the stages wrote is shown where it is there. Else, and with --root or
    --set, the corpus is read as it is now and the sample aligned on the spot.

    \b
    Examples:
      mer datasets preview synthetic
      mer datasets preview ravdess --root /data/ravdess --clips 24 -o ravdess.html
    """
    from pipelines.commands.datasets import preview as previewing

    print(previewing.command(name, root=root, assignments=assignments or (), clips=clips, output=output))
