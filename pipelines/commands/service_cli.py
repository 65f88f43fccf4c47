"""Commands that serve the model or predict without a server. Each imports its dependencies when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    service: Annotated[
        bool, typer.Option("--service/--no-service", help="Also run the Ray Serve app and the reconciler.")
    ] = True,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="Port of the service; default: serving.port.")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option("--mlflow-port", metavar="N", help="Default: serving.mlflow_port.")
    ] = None,
) -> None:
    """Serve the MLflow UI and the promoted model, on loopback.

    \b
    Examples:
      mer serve
      mer serve --port 8080
      mer serve --no-service         only the MLflow UI
    """
    from pipelines.commands import serve as serving

    serving.run(service=service, port=port, mlflow_port=mlflow_port)


def predict(
    clips: Annotated[list[Path], typer.Argument(help="Video or audio files, or folders of them.")],
    *,
    transcript: Annotated[
        str | None,
        typer.Option(
            "--transcript",
            metavar="TEXT",
            help="The spoken words, as text or @FILE: text, SubRip, WebVTT, TextGrid, a recogniser's JSON.",
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--version", metavar="VERSION", help="A version, an alias, a bundle's folder or starter; default: promoted."
        ),
    ] = None,
    audio_track: Annotated[
        int | None,
        typer.Option("--audio-track", metavar="N", min=1, help="Of several sound tracks; default: the flagged one."),
    ] = None,
    video_track: Annotated[
        int | None,
        typer.Option("--video-track", metavar="N", min=1, help="Of several pictures; default: the flagged one."),
    ] = None,
    adaptation: Annotated[
        Path | None,
        typer.Option("--adaptation", metavar="FILE", help="Of `mer adapt`: recordings like these clips, unlabelled."),
    ] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help="Adapt to these clips themselves, five or more.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per clip, for machines.")] = False,
) -> None:
    """Recognise the emotions in clips, without a server.

    \b
    For each clip it prints the emotions over time, how sure the model is, and
    whether face, voice and words agree.

    \b
    Examples:
      mer predict clip.mp4
      mer predict clip.mp4 --transcript "what a day" --json
      mer predict film.mkv --audio-track 2     the second sound track
      mer predict clip.mp4 --version starter   the version that comes with mer
      mer predict calls/ --adapt               a language or microphone of your own
    """
    from pipelines.commands import predict as predicting

    code = predicting.run(
        clips,
        transcript=transcript,
        version=version,
        as_json=as_json,
        video_track=video_track,
        audio_track=audio_track,
        adaptation=adaptation,
        adapt=adapt,
    )
    raise typer.Exit(code)


def adapt(
    recordings: Annotated[list[Path], typer.Argument(help="Video or audio files, or folders of them; five or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")] = Path(
        "adaptation.safetensors"
    ),
    version: Annotated[
        str | None,
        typer.Option(
            "--version", metavar="VERSION", help="A version, an alias, a bundle's folder or starter; default: promoted."
        ),
    ] = None,
) -> None:
    """Measure your own recordings, without labels, for `mer predict`.

    \b
    A language, a microphone or a room moves all features. The file holds the
    mean and spread of them over your recordings, so that answers to more such
    recordings can allow for it. The more people and moods, the better.

    \b
    Examples:
      mer adapt recordings/ --out studio.safetensors
      mer predict clip.mp4 --adaptation studio.safetensors
    """
    from pipelines.commands import adapt as adapting

    raise typer.Exit(adapting.run(recordings, out=out, version=version))


def submit(
    frames: Annotated[Path, typer.Argument(help="The challenge's list: lines video/00001.jpg, or names of videos.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")] = Path(
        "predictions.txt"
    ),
    version: Annotated[
        str | None,
        typer.Option(
            "--version", metavar="VERSION", help="A version, an alias, a bundle's folder or starter; default: promoted."
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", metavar="DIR", help="Crops and recordings; default: affwild2.root of params.yaml."),
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option("--fill", metavar="CLASS", help="The class of all frames of videos that cannot be judged."),
    ] = None,
) -> None:
    """Write a submission to the ABAW expression challenge.

    \b
    It holds one class for every frame of the challenge's list.

    \b
    Examples:
      mer submit EXPR_test_set.txt
      mer submit EXPR_test_set.txt --corpus /data/affwild2 --out predictions.txt --fill neutral
    """
    from pipelines.commands import abaw

    raise typer.Exit(abaw.run(frames, out, version=version, corpus=corpus, fill=fill))


def reconcile(
    once: Annotated[bool, typer.Option("--once", help="Reconcile once and exit.")] = False,
    attach: Annotated[
        bool, typer.Option("--attach", help="A RayService declares the application; change only its version.")
    ] = False,
    heartbeat: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file to touch after every successful step.")
    ] = None,
) -> None:
    """Make the served version follow the alias in the registry.

    \b
    Examples:
      mer reconcile --once
      mer reconcile --attach --heartbeat /tmp/mer-reconciler
    """
    from pipelines.commands import serve as serving

    serving.reconcile(once=once, attach=attach, heartbeat=heartbeat)
