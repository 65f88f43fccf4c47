"""Commands that serve the model or predict without a server. Each imports its dependencies when it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """A form of an answer, by the ending of its file; `components/serving/answers/forms.py`."""

    CSV = "csv"
    SRT = "srt"
    VTT = "vtt"


Version = Annotated[
    str | None,
    typer.Option(
        "--version", metavar="VERSION", help="A version, an alias, a bundle's folder or starter; default: promoted."
    ),
]


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
    from pipelines.commands.service import serve as serving

    serving.run(service=service, port=port, mlflow_port=mlflow_port)


def predict(
    clips: Annotated[
        list[Path], typer.Argument(help="Video or audio files, folders of them, or (with --out) a table of clips.")
    ],
    *,
    transcript: Annotated[
        str | None,
        typer.Option(
            "--transcript",
            metavar="TEXT",
            help="The spoken words, as text or @FILE: text, SubRip, WebVTT, TextGrid, a recogniser's JSON.",
        ),
    ] = None,
    version: Version = None,
    audio_track: Annotated[
        int | None,
        typer.Option(
            "--audio-track", metavar="N", min=1, help="Which of several sound tracks; default: the flagged one."
        ),
    ] = None,
    video_track: Annotated[
        int | None,
        typer.Option(
            "--video-track", metavar="N", min=1, help="Which of several video tracks; default: the flagged one."
        ),
    ] = None,
    adaptation: Annotated[
        Path | None,
        typer.Option("--adaptation", metavar="FILE", help="From `mer adapt`, for recordings like these clips."),
    ] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help="Adapt to these clips themselves, five or more.")] = False,
    why: Annotated[
        bool, typer.Option("--why", help="Which of face, voice and words each episode and change is based on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per clip, for machines.")] = False,
    words: Annotated[
        Path | None, typer.Option("--words", metavar="FILE", help="The words and their times, as JSON; for one clip.")
    ] = None,
    physio: Annotated[
        Path | None, typer.Option("--physio", metavar="FILE", help="Body signals, as Parquet; for one clip.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Include subfolders.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Write answers and tables here; an interrupted run resumes."),
    ] = None,
    form: Annotated[
        list[Form] | None, typer.Option("--form", help="Of the answers in --out, besides JSON (repeatable).")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, help="Clips at a time, with --out; about one per two cores.")
    ] = 1,
    on_ray: Annotated[
        bool, typer.Option("--ray", help="For --out: on the Ray cluster of RAY_ADDRESS, or a Ray here.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Predict live: a file in real time, a camera, or - (standard input).")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="With --live: the service to use, such as ws://host:8000."),
    ] = None,
) -> None:
    """Recognise the emotions in clips, without a server.

    \b
    For each clip it prints the emotions over time, how sure the model is, and
    whether face, voice and words agree.

    \b
    Examples:
      mer predict clip.mp4
      mer predict clip.mp4 --transcript "what a day" --json
      mer predict clip.mp4 --why               what each episode is based on
      mer predict film.mkv --audio-track 2     the second sound track
      mer predict clip.mp4 --version starter   the version that comes with mer
      mer predict calls/ --adapt               your own language or microphone
      mer predict films/ -r -o answers --form srt --workers 4
      mer predict clips.csv -o answers         columns clip, transcript, words, physio
      mer predict films/ -o answers --ray --workers 32       on RAY_ADDRESS
      mer predict --live /dev/video0           steps as they happen, until Ctrl-C
    """
    from pipelines.commands.predict import command as predicting

    code = predicting.run(
        clips,
        transcript=transcript,
        version=version,
        as_json=as_json,
        video_track=video_track,
        audio_track=audio_track,
        adaptation=adaptation,
        adapt=adapt,
        why=why,
        words=words,
        physio=physio,
        recursive=recursive,
        out=out,
        forms=form or (),
        workers=workers,
        on_ray=on_ray,
        live=live,
        url=url,
    )
    raise typer.Exit(code)


def adapt(
    recordings: Annotated[list[Path], typer.Argument(help="Video or audio files, or folders of them; five or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")] = Path(
        "adaptation.safetensors"
    ),
    version: Version = None,
) -> None:
    """Measure your own recordings, without labels, for `mer predict`.

    \b
    A language, a microphone or a room shifts all features. The file holds their
    mean and spread over your recordings, so that answers for similar recordings
    can correct for it. The more people and moods, the better.

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
    version: Version = None,
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", metavar="DIR", help="Crops and recordings; default: affwild2.root of params.yaml."),
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option("--fill", metavar="CLASS", help="The class for all frames of videos that cannot be processed."),
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


def sign(
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="A version's number, or an alias.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    accept_gates: Annotated[
        bool, typer.Option("--accept-gates", help="Take responsibility for serving it although a gate did not pass.")
    ] = False,
    public_key: Annotated[
        bool, typer.Option("--public-key", help="Print the public key, for rollout.trusted_keys, and sign nothing.")
    ] = False,
) -> None:
    """Vouch for a registered version, so that it may be served.

    \b
    Versions are signed when they are registered. This command is for versions
    registered earlier or elsewhere: it shows the bundle, its gates and its origin,
    asks for confirmation, and signs with this project's key, or with the one that
    MER_SIGNING_KEY_FILE names.

    \b
    Examples:
      mer sign 3
      mer sign champion --yes
      mer sign --public-key
    """
    from pipelines.commands.versions import sign as signing

    if public_key:
        signing.print_public_key()
    elif version is None:
        raise typer.BadParameter("name a version, or add --public-key", param_hint="VERSION")
    else:
        signing.run(version, yes=yes, accept_gates=accept_gates)


def gates(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="A number or an alias; default: that of the last mer run.")
    ] = None,
) -> None:
    """Compare a version with the champion on the same held-out people.

    \b
    Compares figures, groups, calibration, missing modalities, time and size,
    paired by person; the bounds are in the section promotion. The table is on the
    version's page in MLflow. A version that passes gets the alias challenger;
    "not enough evidence" does not pass (exit code 5).

    \b
    Examples:
      mer gates
      mer gates 4
    """
    from pipelines.commands.versions import gates as comparing

    raise typer.Exit(comparing.run(version))


def drift(
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="URL|FILE", help="Of the service; default: the one in params.yaml."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Labels added later: CSV with emotion and label.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Use these answers as the baseline for later checks.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print without recording anything.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one line of JSON.")] = False,
) -> None:
    """Check whether the service's requests or answers have drifted.

    \b
    Compares the service's counts since the last check (emotions, confidence,
    presence, contradiction, distance from the training data) with the accepted
    answers, or with those for held-out people. Drift is recorded as a run in
    MLflow and a note on the version, which mer retrain --if-needed reads.

    \b
    Examples:
      mer drift                      every night, before mer retrain --if-needed
      mer drift --accept             the answers so far are as they should be
      mer drift --labels clips.csv
    """
    from pipelines.commands import drift as drifting

    raise typer.Exit(drifting.run(metrics=metrics, labels=labels, accept=accept, dry_run=dry_run, as_json=as_json))


def promote(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A number or an alias, such as challenger.")],
) -> None:
    """Promote a version: move the rollout's alias to it, and record who did.

    \b
    Examples:
      mer promote 4
      mer promote challenger
    """
    from pipelines.commands.versions import promote as promoting

    promoting.run(version)


def reconcile(
    once: Annotated[bool, typer.Option("--once", help="Reconcile once and exit.")] = False,
    attach: Annotated[
        bool, typer.Option("--attach", help="A RayService declares the application; change only its version.")
    ] = False,
    heartbeat: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file to touch after every successful step.")
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook",
            metavar="HOST:PORT",
            envvar="MER_WEBHOOK_LISTEN",
            help="Listen there for MLflow's webhook; default: rollout.webhook_port.",
        ),
    ] = None,
) -> None:
    """Make the served version follow the alias in the registry.

    \b
    Examples:
      mer reconcile --once
      mer reconcile --attach --heartbeat /tmp/mer-reconciler
    """
    from pipelines.commands.service import reconciling

    reconciling.reconcile(once=once, attach=attach, heartbeat=heartbeat, webhook=webhook)


def webhook(
    url: Annotated[str, typer.Argument(metavar="URL", help="By which MLflow reaches the reconciler.")],
) -> None:
    """Let MLflow wake a reconciler elsewhere as soon as an alias moves.

    \b
    Registers the webhook at the server that MLFLOW_TRACKING_URI names,
    with this project's secret (or that of MER_WEBHOOK_SECRET_FILE).
    Where MLflow has a login only its administrator may.

    \b
    Examples:
      mer webhook http://mer-webhook.mer.svc.cluster.local:5001/
    """
    from pipelines.commands.service import woken

    print(woken.register(url))
