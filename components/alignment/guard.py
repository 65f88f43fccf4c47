"""Alignment in a guarded process (`runtime.children.guarded`), so that a clip that kills the decoder loses only itself.

Every caller that aligns untrusted media (a worker of the stage, `mer predict`, a replica) passes it to a child process
that holds the aligner. A clip that kills the child is `crashed`, one over its time `too-slow`, one over its memory
`memory`; all other refusals come from the aligner. Starting the first child takes a few seconds (its imports).

The child reads what was sent with a single clip too: the transcript and the times of words. Of this process's
environment it has what it needs, and no token or password. Where its files are strangers' it may read those alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from components.alignment.fingerprint import networks
from components.alignment.outcome import ClipOutcome, align_one, measured, packed, refused, unpacked
from components.alignment.said import Said, check_words, read_said
from components.contracts.codes import Code
from components.contracts.config import Alignment, MediaLimits
from components.contracts.errors import MediaError, UnavailableError
from components.contracts.records import AlignedClip, Clip, Word
from components.datasets.base import PICTURES, SOUND
from components.media.film import Film, film
from components.media.images import image_times
from components.media.pieces import pieces
from components.media.probe import image_format
from components.media.received import Part, Recorded, recorded
from components.media.source import open_media, out_of_memory, picture_stream, too_slow
from components.runtime.children import confinement
from components.runtime.children.fork_server import fork_server
from components.runtime.children.guarded import ChildEndedError, Fields, Guarded, Handler, InChild
from components.runtime.patience import OutOfTimeError, Patience
from components.runtime.spared import pyarrow_without_pandas
from components.runtime.weights import weight_file, weights_root

SERVE = f"{__name__}:serve"
CANVAS = b"canvas"  # beside the row of a clip that is asked for, not in those of the stage
FACE, VOICE, ENDINGS = "face", "voice", "endings"
KILLED = "signal SIGKILL"  # so the kernel ends a process where memory runs out

# Of a server of children, and so of these: what their clips are not expected to have.
_not_expected: set[str] = set()


class Guard(InChild):
    """Aligns clips in a child process; a context manager. The child starts with the first clip, or with `start`.
    Threads take turns.

    Args:
        config: of the aligner.
        root: where relative media paths start.
        only: the one folder whose files the child may read; see `Guarded`. None: any.
    """

    def __init__(self, config: Alignment, root: Path, *, only: Path | None = None) -> None:
        self.root = root
        self.limits = config.limits
        settings = {"config": config.model_dump(mode="json"), "root": str(root)}
        self._child = Guarded(
            SERVE, settings, config.limits, bare=True, only=None if only is None else (only, weights_root())
        )

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def align(self, clip: Clip) -> dict[str, Any]:
        """The outcome of a clip before the quality gate, as `outcome.packed` writes it.

        Raises:
            UnavailableError: weights that the configuration needs are not installed, or no child can be started.
        """
        try:
            fields, row = self._request({"do": "align", "clip": clip.to_row()}, clip.clip_id)
        except MediaError as error:
            return packed(refused(clip, error))
        return {**fields, "row": row}

    def result(self, clip: Clip) -> ClipOutcome:
        """As `align`, unpacked."""
        return unpacked(clip, self.align(clip))

    def aligned(self, clip: Clip) -> AlignedClip:
        """As `Aligner.align_ungated`, with its errors; further `crashed`, and a RuntimeError where the aligner has a
        defect."""
        return unpacked_row(self.aligned_row(clip))

    def aligned_row(self, clip: Clip, *, patience: Patience | None = None) -> bytes:
        """As `aligned`, as the Arrow stream of one row of the aligned table.

        Raises:
            DataError: the clip has more words than can be said in its time (`too-long`).
            MediaError: further `too-slow`, the patience of the caller ended during the work.
            UnavailableError: `busy`, it ended before the turn of the clip came.
            GivenUpError: the caller has given up.
        """
        _, row = self._request({"do": "aligned", "clip": clip.to_row()}, clip.clip_id, patience)
        assert row is not None
        return row

    def opened(
        self,
        path: Path,
        *,
        transcript: str | Path | None = None,
        words: Path | None = None,
        patience: Patience | None = None,
    ) -> tuple[bool, Said]:
        """Whether a media file has a picture stream, or is a picture; and what is said in it, read from what was sent
        with it (`said.read_said`).

        Raises:
            MediaError: as `source.open_media`, `images.image_times` and `aligned_row`.
            DataError: as `said.read_said`.
        """
        request = {
            "do": "open",
            "path": str(path),
            "transcript": None if transcript is None else str(transcript),
            "in_file": isinstance(transcript, Path),
            "words": None if words is None else str(words),
        }
        fields, _ = self._request(request, path.name, patience)
        timed = tuple(Word(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s in fields["words"])
        return bool(fields["picture"]), Said(text=fields["text"], words=timed)

    def recorded(self, path: Path, part: Part, *, offset: int = 0, patience: Patience | None = None) -> Recorded:
        """The files of a part of a live stream.

        Args:
            path: the pieces that were sent (`media.received`), from the byte `offset` on.
            part: which part.
            patience: as of `aligned_row`.

        Raises:
            MediaError: as `received.recorded` and `aligned_row`.
        """
        request = {"do": "record", "path": str(path), "offset": offset, "part": asdict(part)}
        fields, body = self._request(request, path.name, patience)
        media, signals = (body or b"")[: fields["media"]], (body or b"")[fields["media"] :]
        words = tuple((text, start_s, end_s) for text, start_s, end_s in fields["words"])
        return Recorded(media=media or None, signals=signals or None, words=words, has_picture=bool(fields["picture"]))

    def film(self, path: Path, *, patience: Patience | None = None) -> Film:
        """A few pictures of a file (`media.film`).

        Raises:
            MediaError: as `film.film` and `aligned_row`.
            UnavailableError, GivenUpError: as `aligned_row`.
        """
        fields, body = self._request({"do": "film", "path": str(path)}, path.name, patience)
        jpegs, begin = [], 0
        for size in fields["sizes"]:
            jpegs.append((body or b"")[begin : begin + size])
            begin += size
        return Film(times_s=tuple(fields["times_s"]), jpegs=tuple(jpegs))

    def _request(
        self, request: Mapping[str, Any], where: str, patience: Patience | None = None
    ) -> tuple[Fields, bytes | None]:
        try:
            return self._child.ask(request, patience=patience)
        except OutOfTimeError as late:
            raise busy(patience, where) from late
        except ChildEndedError as ended:
            if ended.over_work:
                raise too_slow(self.limits, where) from ended
            if ended.over_time:
                raise too_late(patience, where) from ended
            raise crashed(ended, where) from ended


def unpacked_row(row: bytes) -> AlignedClip:
    """The aligned clip of `Guard.aligned_row`."""
    table = pa.ipc.open_stream(row).read_all()
    clip = AlignedClip.from_row(table.to_pylist()[0])
    canvas = (table.schema.metadata or {}).get(CANVAS)
    return clip if canvas is None else replace(clip, canvas=tuple(json.loads(canvas)))


def prepare(config: Alignment, files: Iterable[Path] = ()) -> None:
    """Starts the imports of this process's guards with a configuration, without waiting for them.

    Args:
        config: of the aligner.
        files: those that will be aligned, where they are known. Where by their names none has pictures, or none has
            sound, what only such clips need is loaded by the child that meets one all the same.
    """
    endings = sorted({file.suffix.lower() for file in files})
    fork_server(__name__, bare=True).prepare({"config": config.model_dump(mode="json"), ENDINGS: endings})


def imports(settings: Fields) -> None:
    """What the children import, as `runtime.children.guarded` requires it; where none is known, by the default
    configuration."""
    confinement.prepare()
    pyarrow_without_pandas()
    import components.alignment.align

    if endings := set(settings.get(ENDINGS, ())):
        _not_expected.clear()
        _not_expected.update(kind for kind, only in ((FACE, SOUND), (VOICE, PICTURES)) if endings <= set(only))
    config = settings.get("config") or Alignment().model_dump(mode="json")
    if FACE not in _not_expected and config["face"]["detector"] == "mtcnn":
        import components.alignment.faces.mtcnn  # noqa: F401
    if VOICE not in _not_expected and config["voice"]["activity"] == "silero":
        import onnxruntime  # noqa: F401


def serve(settings: Fields) -> Handler:
    """The handler of the child, as `runtime.children.guarded` requires it."""
    from components.alignment.align import Aligner  # seconds of imports, which only the child needs

    config, root = Alignment.model_validate(settings["config"]), Path(settings["root"])
    aligner = Aligner(config, media=not _not_expected)
    for name in networks(config):
        weight_file(name)

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        if request["do"] == "open":
            return _opened(request, root, config.limits), None
        if request["do"] == "record":
            return _recorded(request)
        if request["do"] == "film":
            return _filmed(root / request["path"], config.limits)
        clip = Clip.from_row(request["clip"])
        if request["do"] == "align":
            fields = packed(align_one(aligner, clip, root))
        else:
            try:
                aligned = aligner.align_ungated(clip, root=root)
                check_words(aligned)
                outcome = measured(aligned)
                assert outcome.row is not None
                beside = {CANVAS: json.dumps(aligned.canvas)} if aligned.canvas else None
                fields = packed(replace(outcome, row=outcome.row.replace_schema_metadata(beside)))
            except MemoryError as error:
                raise out_of_memory(config.limits, clip.clip_id) from error
        row = fields.pop("row")
        return fields, row

    return handler


def _opened(request: Fields, root: Path, limits: MediaLimits) -> Fields:
    transcript, words = request["transcript"], request["words"]
    if request["in_file"]:
        transcript = Path(transcript)
    said = read_said(transcript, words and Path(words), max_duration_s=limits.max_duration_s)
    timed = [(word.text, word.start_s, word.end_s) for word in said.words]
    return {"picture": _has_picture(root / request["path"], limits), "text": said.text, "words": timed}


def _recorded(request: Fields) -> tuple[Fields, bytes]:
    with Path(request["path"]).open("rb") as sent:
        sent.seek(request["offset"])
        files = recorded(pieces(sent), Part(**request["part"]))
    media, signals = files.media or b"", files.signals or b""
    return {"media": len(media), "words": files.words, "picture": files.has_picture}, media + signals


def _filmed(path: Path, limits: MediaLimits) -> tuple[Fields, bytes]:
    try:
        made = film(path, limits, where=path.name)
    except MemoryError as error:
        raise out_of_memory(limits, path.name) from error
    return {"times_s": made.times_s, "sizes": [len(jpeg) for jpeg in made.jpegs]}, b"".join(made.jpegs)


def _has_picture(path: Path, limits: MediaLimits) -> bool:
    if image_format(path) is not None:
        image_times(path, limits, where=path.name)
        return True
    with open_media(path, limits, where=path.name) as container:
        return picture_stream(container) is not None


def busy(patience: Patience | None, where: str) -> UnavailableError:
    """The error for a clip whose turn did not come before the patience of its caller ended."""
    return UnavailableError(
        "there was no time for this clip",
        where=where,
        seen=f"others took {_wall_s(patience):g} s",
        remedy="Try again later.",
        code=Code.BUSY,
    )


def too_late(patience: Patience | None, where: str) -> MediaError:
    """The error for a clip that took longer than the patience of its caller."""
    limit = f"{_wall_s(patience):g} s"
    return MediaError(
        "the clip takes too long",
        where=where,
        seen=f"more than {limit}",
        allowed=f"at most {limit}",
        remedy="Try again when the machine is less busy, or cut the clip into parts",
        code=Code.TOO_SLOW,
    )


def _wall_s(patience: Patience | None) -> float:
    return (patience and patience.wall_s) or 0.0


def crashed(ended: ChildEndedError, where: str) -> MediaError:
    """The error for a clip that ended the child that worked on it."""
    return MediaError(
        "decoding the clip ends the process that does it",
        where=where,
        seen=ended.how,
        allowed="a file that decodes or is refused",
        remedy="Too little memory on the machine: stop other work, or let fewer clips be aligned at once (ray.num_cpus)"
        if ended.how.startswith(KILLED)
        else "Convert the clip with a different tool; report the file to the makers of FFmpeg",
        code=Code.CRASHED,
    )
