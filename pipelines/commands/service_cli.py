"""Commands of the service and of answers without one. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    service: Annotated[bool, typer.Option("--service/--no-service", help="The Ray Serve app and reconciler.")] = True,
    port: Annotated[int | None, typer.Option("--port", help="The service's; default: serving.port.")] = None,
    mlflow_port: Annotated[int | None, typer.Option("--mlflow-port", help="Default: serving.mlflow_port.")] = None,
) -> None:
    """MLflow UI, the service and the reconciler, on loopback; prints their addresses.

    \b
    Examples:
      mer serve
      mer serve --port 8080
      mer serve --no-service         only the MLflow UI
    """
    from pipelines.commands import serve as serving

    serving.run(service=service, port=port, mlflow_port=mlflow_port)


def predict(
    clips: Annotated[list[Path], typer.Argument(help="Clips: video, audio, or a folder of them.")],
    transcript: Annotated[str | None, typer.Option("--transcript", help="What is said, as text or @FILE.")] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="A version or alias; default: rollout.alias of params.yaml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per clip, for machines.")] = False,
) -> None:
    """What a clip shows over time, how sure the model is, and whether face, voice and words agree.

    \b
    Examples:
      mer predict clip.mp4
      mer predict clip.mp4 --transcript "what a day" --json
    """
    from pipelines.commands import predict as predicting

    raise typer.Exit(predicting.run(clips, transcript=transcript, version=version, as_json=as_json))


def submit(
    frames: Annotated[Path, typer.Argument(help="The challenge's list: lines video/00001.jpg, or names of videos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("predictions.txt"),
    version: Annotated[
        str | None, typer.Option("--version", help="A version or alias; default: rollout.alias of params.yaml.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", help="Crops and recordings; default: affwild2.root of params.yaml.")
    ] = None,
    fill: Annotated[
        str | None, typer.Option("--fill", metavar="CLASS", help="For frames of videos that cannot be judged.")
    ] = None,
) -> None:
    """Write a submission to the expression challenge of ABAW: a class for every frame of its list.

    \b
    Examples:
      mer submit EXPR_test_set.txt
      mer submit EXPR_test_set.txt --corpus /data/affwild2 --out predictions.txt --fill neutral
    """
    from pipelines.commands import abaw

    raise typer.Exit(abaw.run(frames, out, version=version, corpus=corpus, fill=fill))


def reconcile(
    once: Annotated[bool, typer.Option("--once", help="One pass, then end.")] = False,
    attach: Annotated[
        bool, typer.Option("--attach", help="A RayService declares the application; change only its version.")
    ] = False,
    heartbeat: Annotated[Path | None, typer.Option(help="A file to touch after every step that worked.")] = None,
) -> None:
    """Make the served version follow the alias in the registry.

    \b
    Examples:
      mer reconcile --once
      mer reconcile --attach --heartbeat /tmp/mer-reconciler
    """
    from pipelines.commands import serve as serving

    serving.reconcile(once=once, attach=attach, heartbeat=heartbeat)
