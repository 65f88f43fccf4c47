"""`mer datasets`: the stage, and the commands that inspect, add and download corpora.

Each command imports its dependencies when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="A dataset listed by `mer datasets list`.")]

Root = Annotated[str | None, typer.Option("--root", metavar="DIR", help="The corpus's folder; overrides `NAME.root`.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value of params.yaml, for this call only (repeatable)."
    ),
]

STAGE = "datasets"

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def datasets(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="A name from `datasets` in params.yaml.")
    ] = None,
) -> None:
    """Stage: list the clips of a corpus, on disk or rendered.

    \b
    The subcommands inspect, add and download corpora.

    \b
    Examples:
      mer datasets --dataset synthetic
      mer datasets list
    """
    if context.invoked_subcommand is not None:
        return
    if dataset is None:
        raise typer.BadParameter("name a dataset; `mer datasets list` lists them", param_hint="--dataset")
    from pipelines import stage

    stage.run(STAGE, dataset)


@app.command("list")
def datasets_list() -> None:
    """List the corpora that can be read.

    \b
    Prints their modalities, their licence and whether they can be downloaded.

    \b
    Examples:
      mer datasets list
    """
    from pipelines.commands.datasets import describe

    print(describe.listing())


@app.command("describe")
def datasets_describe(name: Name) -> None:
    """Describe a corpus: layout, options, labels, splits, licence.

    \b
    Also prints how to obtain it.

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
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 if any clip would be skipped.")] = False,
) -> None:
    """Check which clips of a corpus would be used or skipped, and why.

    \b
    Nothing is processed or written, and params.yaml stays as it is. Exit code 3:
    no clip can be used.

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
    name: Annotated[str, typer.Argument(help="Name of the dataset in params.yaml.")],
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="The corpus's own name.")] = "",
    licence: Annotated[
        str, typer.Option("--licence", metavar="TEXT", help="The terms of the corpus.")
    ] = "not stated yet",
) -> None:
    """Add a corpus: adapter, fixture, test and section of params.yaml.

    \b
    The adapter works as generated, for a plain folder layout.

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
        typer.Option("--part", metavar="PART", help="A part of the corpus, as listed by `describe` (repeatable)."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept-licence", help="Confirm that you have read the licence and will keep it.")
    ] = False,
    mirror: Annotated[
        str | None, typer.Option("--mirror", metavar="URL", help="A mirror with the files at URL/<host>/<path>.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep archives after unpacking.")] = False,
) -> None:
    """Download an openly licensed corpus.

    \b
    For the others it prints where and how to apply. After an interruption the same
    command resumes where it stopped. Every file is compared with the published
    checksum, or with that of the first download.

    \b
    Examples:
      mer datasets download emodb --accept-licence
      mer datasets download ravdess --part speech-sound --to /data/ravdess --accept-licence
      mer datasets download iemocap        prints where to apply
    """
    from pipelines.commands.datasets import download as downloading

    print(downloading.command(name, to=to, parts=parts or (), accept=accept, mirror=mirror, keep=keep))


@app.command("preview")
def datasets_preview(
    name: Name,
    root: Root = None,
    assignments: Assignments = None,
    clips: Annotated[int, typer.Option("--clips", metavar="N", help="Number of clips on the page.")] = 12,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: preview-NAME.html here.")
    ] = None,
) -> None:
    """Write an HTML page with a sample of a corpus.

    \b
    It shows aligned faces, sound, words and labels of some clips, and the balance
    of all. The page is made from the outputs of the stages if they exist.
    Otherwise, and with --root or --set, the corpus is read and the sample aligned
    now.

    \b
    Examples:
      mer datasets preview synthetic
      mer datasets preview ravdess --root /data/ravdess --clips 24 -o ravdess.html
    """
    from pipelines.commands.datasets import preview as previewing

    print(previewing.command(name, root=root, assignments=assignments or (), clips=clips, output=output))
