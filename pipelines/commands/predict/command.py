"""`mer predict`: recognises the emotions in clips, without a server and without Ray."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.atomic import read_json
from components.contracts.codes import Code
from components.contracts.config import Alignment, Params, RayResources
from components.contracts.errors import BundleError, ConfigError, DataError, MerError
from components.contracts.layout import Layout
from components.datasets import base
from components.datasets.base import PICTURES, SOUND, VIDEO
from components.datasets.litter import litter
from components.datasets.stills import without_previews
from components.datasets.transcripts.read import read_text
from components.features.adaptation import Adaptation
from components.serving.batch.answered import ClipFiles
from components.tracking.client import impatient, without_progress_bars
from pipelines.commands.predict.folder import MANIFEST, check_names, from_manifest
from pipelines.commands.versions.verified import load_verified
from pipelines.project import find_root, in_project, load
from pipelines.stage import one_thread

if TYPE_CHECKING:
    from components.contracts.records import Clip
    from components.registry.bundle import Bundle
    from components.serving.predictor import Predictor

DESCRIPTION = "bundle.json"
STARTER = "starter"
MEDIA_SUFFIXES = frozenset(VIDEO + SOUND + PICTURES)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The chosen bundle, with its name and version in the registry."""

    bundle: Bundle
    name: str
    version: str


def run(
    clips: Sequence[Path],
    *,
    transcript: str | None = None,
    version: str | None = None,
    as_json: bool = False,
    video_track: int | None = None,
    audio_track: int | None = None,
    adaptation: Path | None = None,
    adapt: bool = False,
    words: Path | None = None,
    physio: Path | None = None,
    recursive: bool = False,
    out: Path | None = None,
    forms: Sequence[str] = (),
    workers: int = 1,
    on_ray: bool = False,
    why: bool = False,
    live: bool = False,
    url: str | None = None,
    root: Path | None = None,
) -> int:
    """Judges clips in turn and prints an answer for each; a clip that cannot be judged does not stop the others.

    Args:
        clips: videos, sound files or photographs, or folders of them; with `out` also tables of clips
            (`predict_folder.from_manifest`).
        transcript: the spoken words, as text or `@FILE`, in any format of `datasets.transcripts`; for a single clip.
        version: a version number, an alias, `starter`, or a bundle's folder. By default the version under the rollout's
            alias; while no version has it, the bundle of the last `mer run`; before one, the starter.
        video_track, audio_track: which of several tracks of the files to use, counted from 1.
        adaptation: the file of `mer adapt`, whose recordings the features are standardised by.
        adapt: whether they are standardised by these clips themselves, which are read twice then.
        words, physio: the times of the words (JSON) and body signals (Parquet); for a single clip.
        recursive: whether folders inside the folders count, too.
        out: a folder for the answers; nothing is printed then, and the next call goes on with what is missing.
        forms: of the answers in `out`, besides JSON: csv, srt, vtt.
        workers: clips that are judged at once, for `out`.
        on_ray: whether actors of Ray judge them, for `out`: those of the cluster of `RAY_ADDRESS`, or of a Ray here.
        why: whether episodes and transitions have what they rest on.
        live: the one clip is a file that is played at its own pace, a camera, or - for standard input, and is judged
            while it lasts (`predict_live`).
        url: of the service that judges it, for `live`; by default this process does.
        as_json: one JSON object per line on standard output, an answer or a problem, in the order of the clips.
        root: the project; by default the one around the current folder.

    Returns:
        0, or the exit code of the first clip that could not be judged.

    Raises:
        MerError: nothing can be judged: there is no such version, no such folder, or nothing in it; too few clips to
            adapt to, or an adaptation that does not fit the version.
    """
    one_thread()
    # Standard output is for answers.
    without_progress_bars()
    impatient()  # a person waits
    if adapt and adaptation is not None:
        raise ConfigError("--adapt and --adaptation exclude each other", where="mer predict")
    if live or url is not None:
        return _live(clips, live=live, url=url, as_json=as_json, version=version, root=root, adaptation=adaptation)
    if on_ray and out is None:
        raise ConfigError("--ray is for many clips", where="mer predict", remedy="Name a folder with --out")
    if out is not None:
        _check_many(out, transcript=transcript, words=words, physio=physio, tracks=(video_track, audio_track))
        jobs = _jobs(clips, recursive=recursive)
        files = [job.clip for job in jobs]
    else:
        files = list(media_files(clips, recursive=recursive))
    spoken = _transcript(transcript, files)
    for option, value in (("--words", words), ("--physio", physio)):
        if value is not None:
            _check_single(option, files)
    said = transcript is not None or words is not None
    expected = _modalities(files, words=said, signals=physio is not None) if out is None else None
    wait = out is not None and not on_ray
    predictor = predictor_of(version, root, adaptation, files=files, wait=wait, expected=expected)
    if adapt:
        from pipelines.commands.adapt import measure

        predictor = predictor.adapted(measure(files, predictor, name="these clips"))
    if out is not None:
        from pipelines.commands.predict import folder as predict_folder

        order = predict_folder.Order.of(predictor, out, forms, why=why)
        workers = min(workers, len(jobs))
        if on_ray:
            from pipelines.commands.predict.on_ray import judges

            with judges(predictor, order, actors=workers, ray=_ray(root)) as judged:
                return predict_folder.run(jobs, order, judged)
        same = [predictor.again() for _ in range(workers - 1)]
        return predict_folder.run(jobs, order, predict_folder.in_threads([predictor, *same], order))
    from components.serving.clips import clip_of_file

    code = 0
    for index, file in enumerate(files):
        try:
            clip = clip_of_file(
                file,
                predictor.guard,
                transcript=spoken,
                words=words or (),
                physio=physio,
                video_track=video_track,
                audio_track=audio_track,
            )
            _print_answer(predictor, clip, as_json=as_json, first=index == 0, why=why)
        except MerError as error:
            code = code or error.exit_code
            _print_problem(error, file, as_json=as_json)
    return code


def _ray(root: Path | None) -> RayResources:
    """Of the project, or the defaults outside of one."""
    if root is None and not in_project():
        return RayResources()
    return load(root or find_root()).ray


def _live(
    clips: Sequence[Path],
    *,
    live: bool,
    url: str | None,
    as_json: bool,
    version: str | None,
    root: Path | None,
    adaptation: Path | None,
) -> int:
    if not live or len(clips) != 1:
        seen = f"{len(clips)} clips" if live else "--url without --live"
        raise ConfigError("--live takes one file or device", where="mer predict", seen=seen)
    from pipelines.commands.predict import live as predict_live

    return predict_live.run(
        clips[0], predictor=lambda: predictor_of(version, root, adaptation), url=url, as_json=as_json
    )


def predictor_of(
    version: str | None,
    root: Path | None,
    adaptation: Path | None = None,
    *,
    files: Sequence[Path] = (),
    wait: bool = True,
    expected: Collection[str] | None = None,
) -> Predictor:
    """A version, ready to judge clips; arguments and errors as of `run`, `files` as of `model_of`, `wait` and
    `expected` as of `Predictor`."""
    own = None if adaptation is None else Adaptation.load(adaptation)
    params, chosen = model_of(version, root, files)
    from components.serving.predictor import Predictor

    limits = params.alignment.limits if params else chosen.bundle.alignment.limits
    device = params.features.device if params else "auto"
    predictor = Predictor(
        chosen.bundle,
        name=chosen.name,
        version=chosen.version,
        limits=limits,
        device=device,
        wait=wait,
        expected=expected,
    )
    return predictor if own is None else predictor.adapted(own)


def _modalities(files: Sequence[Path], *, words: bool, signals: bool) -> frozenset[str]:
    """Those that clips with such names, and with what was given beside them, are likely to have."""
    endings = {file.suffix.lower() for file in files}
    have = {"face": not endings <= set(SOUND), "voice": not endings <= set(PICTURES), "text": words, "physio": signals}
    return frozenset(name for name, likely in have.items() if likely)


def is_bundle(version: str) -> bool:
    """Whether a version is the folder of a bundle, and not a number or an alias."""
    return (Path(version) / DESCRIPTION).is_file()


def _print_answer(predictor: Predictor, clip: Clip, *, as_json: bool, first: bool, why: bool) -> None:
    from rich.console import Console

    from components.serving.answers.render import render

    answer = predictor.predict(clip, why=why)
    if as_json:
        print(answer.to_json(), flush=True)
        return
    if not first:
        print()
    render(answer, Console(highlight=False))


def _print_problem(error: MerError, file: Path, *, as_json: bool) -> None:
    from components.serving.answers.schemas import Problem

    if as_json:
        body = Problem.of(error).model_dump()
        body["error"]["where"] = body["error"]["where"] or file.name
        print(json.dumps(body, ensure_ascii=False), flush=True)
        return
    sys.stdout.flush()
    print(f"\n{file}: {error}", file=sys.stderr, flush=True)


def media_files(clips: Sequence[Path], *, recursive: bool = False) -> Iterator[Path]:
    """The files named, and the media files in the folders named, by name, with `recursive` in the folders inside them,
    too. Raises DataError if a folder has none."""
    for path in clips:
        if not path.is_dir():
            yield path
            continue
        files = _media(path, recursive=recursive)
        if not files:
            raise DataError(
                "the folder has no video, sound file or photograph",
                where=str(path),
                allowed=" ".join(sorted(MEDIA_SUFFIXES)),
                remedy="" if recursive else "--recursive looks into the folders inside it",
                code=Code.NO_CLIPS,
            )
        yield from files


def _media(folder: Path, *, recursive: bool) -> list[Path]:
    if recursive:
        media = base.media_files(folder, MEDIA_SUFFIXES)
    else:
        named = (file for file in folder.iterdir() if litter(file.name) is None)
        media = sorted(file for file in named if file.suffix.lower() in MEDIA_SUFFIXES)
    files, _ = without_previews(media)
    return files


def _jobs(clips: Sequence[Path], *, recursive: bool) -> list[ClipFiles]:
    """The clips of a call with `out`: an answer is named as its file, below a folder by the path from there."""
    jobs: list[ClipFiles] = []
    for path in clips:
        if path.suffix.lower() == MANIFEST and path.is_file():
            jobs += from_manifest(path)
        else:
            files = media_files([path], recursive=recursive)
            top = path if path.is_dir() else path.parent
            jobs += (ClipFiles(name=file.relative_to(top).as_posix(), clip=file) for file in files)
    check_names(jobs)
    return jobs


def _check_many(out: Path, *, tracks: tuple[int | None, int | None], **single: object) -> None:
    """Raises ConfigError where an option is of one clip only, or the folder is a file."""
    named = [f"--{name}" for name, value in single.items() if value is not None]
    if named or any(track is not None for track in tracks):
        raise ConfigError(
            "these options are of a single clip, and --out is for many",
            where="mer predict",
            seen=", ".join(named) or "a track",
            remedy="A table of clips (CSV) has columns for transcript, words and physio",
        )
    if out.exists() and not out.is_dir():
        raise ConfigError("the answers need a folder", where="--out", seen=f"{out}, a file")


def _check_single(option: str, files: Sequence[Path]) -> None:
    """Raises DataError where what goes with one clip is given for several."""
    if len(files) != 1:
        raise DataError(
            f"{option} needs exactly one clip",
            where=option,
            seen=f"{len(files)} clips",
            remedy="Judge the clips one by one, or with --out and a table of clips",
        )


def _transcript(text: str | None, files: Sequence[Path]) -> str | None:
    if text is None:
        return None
    _check_single("--transcript", files)
    if text.startswith("@"):
        return read_text(Path(text[1:]), where=text[1:])
    if "\n" not in text and os.path.isfile(text):
        raise DataError(
            "this is the path of a file, not what is said",
            where="--transcript",
            seen=text,
            remedy=f"Write @{text} to take the words from the file",
            code=Code.BAD_TEXT,
        )
    return text


def model_of(version: str | None, root: Path | None, files: Sequence[Path] = ()) -> tuple[Params | None, Chosen]:
    """The bundle to judge with; a bundle's folder needs no project around it. `files` are those that it will judge,
    where they are known.

    Meanwhile the processes that open media and encode make their imports: they take seconds, as those of this one. If
    the version turns out to align differently than the project, some of them are made later.
    """
    if version is not None and is_bundle(version):
        _prepare(Alignment(), files)
        from components.registry.bundle import load_bundle
        from components.serving.predictor import UNREGISTERED

        return None, Chosen(bundle=load_bundle(Path(version)), name=Path(version).name[:12], version=UNREGISTERED)
    if version == STARTER or (version is None and root is None and not in_project()):
        _prepare(Alignment(), files)
        return None, _starter(named=version is not None)
    root = root or find_root()
    params, layout = load(root), Layout(root)
    _prepare(params.alignment, files)
    registered = _registered(version or params.rollout.alias, params, layout)
    if registered is not None:
        return params, registered
    if version is not None:
        from components.registry.register import CHALLENGER

        raise BundleError(
            "there is no such version",
            where=f"model {params.registry.model_name}",
            seen=version,
            allowed=f"a version number, an alias such as {params.rollout.alias} or {CHALLENGER}, "
            f"{STARTER}, or a bundle's folder",
            remedy="`mer serve` shows the versions in the MLflow UI.",
        )
    return params, _last_run(params, layout)


def _prepare(alignment: Alignment, files: Sequence[Path]) -> None:
    from components.alignment import guard as media

    media.prepare(alignment, files)
    from components.features import guard as encoding

    encoding.prepare()


def _starter(*, named: bool) -> Chosen:
    """The version that comes with this code; says so where the caller did not name it."""
    from components.registry import starter
    from components.registry.bundle import load_bundle
    from components.serving.predictor import UNREGISTERED

    if not starter.is_there():
        raise BundleError(
            "there is no model yet, and this installation has no starter",
            where=str(starter.BUNDLE),
            remedy="`mer run` trains and registers one; --version takes a bundle's folder.",
        )
    if not named:
        print("No version was trained here yet: answering with the starter that comes with mer.", file=sys.stderr)
    return Chosen(bundle=load_bundle(starter.BUNDLE), name=STARTER, version=UNREGISTERED)


def _registered(version: str, params: Params, layout: Layout) -> Chosen | None:
    """The version of that number or alias, or None when the registry has none."""
    from components.tracking.address import exists, tracking_uri

    uri = tracking_uri(params.tracking, layout.root)
    if not exists(uri):
        return None
    from components.tracking.versions import resolve, version_info

    name = params.served_model if version == params.rollout.alias else params.registry.model_name
    info = (
        version_info(name, version, tracking_uri=uri) if version.isdigit() else resolve(name, version, tracking_uri=uri)
    )
    if info is None:
        return None
    return Chosen(bundle=load_verified(params, layout, info, uri), name=name, version=info.version)


def _last_run(params: Params, layout: Layout) -> Chosen:
    """The bundle of the last `mer run`, used while no version is promoted."""
    from components.registry.bundle import load_bundle
    from components.serving.predictor import UNREGISTERED

    record = layout.registered / "registered.json"
    if not record.is_file():
        return _starter(named=False)
    registered = read_json(record)
    print(
        f"No version has the alias {params.rollout.alias!r}: using the last run's bundle"
        + ("." if registered.get("gates_passed") else ", which did not pass the gates."),
        file=sys.stderr,
    )
    bundle = load_bundle(layout.state / "bundles" / str(registered["bundle_sha256"]))
    return Chosen(bundle=bundle, name=str(registered["model_name"]), version=UNREGISTERED)
