"""A part of a live stream → its steps, and the whole of it → the answer, by the predictor that judges clips.

What was sent becomes a file (`media.received`, in the guarded child), which goes the way of every clip: `align`, the
encoders, the transform. The steps before the new ones are context for alignment and encoders; the model has the past
of the stream itself.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.alignment.said import Said
from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.contracts.fingerprint import file_sha256
from components.contracts.records import Clip, Word
from components.features.base import Encoded
from components.features.guard import Encodings
from components.inference.live import Past
from components.media.received import Part
from components.runtime.patience import Patience
from components.serving.answers.schemas import Answer
from components.serving.answers.words import unread_notes
from components.serving.clips import clip_of_request
from components.serving.live.wire import Ask, Reply, read_ask, reply
from components.serving.predictor import Predictor

NAME = "live"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request on disk: what is asked, the past, and where the pieces begin in the file."""

    file: Path
    ask: Ask
    past: bytes
    offset: int

    @classmethod
    def of(cls, file: Path) -> Request:
        """Raises DataError (`bad-request`)."""
        with file.open("rb") as stream:
            ask, past = read_ask(stream)
            return cls(file=file, ask=ask, past=past, offset=stream.tell())


def judged(file: Path, predictor: Predictor, patience: Patience | None = None) -> Answer | bytes:
    """The reply to a request on disk, as bytes, or the answer of the whole stream.

    Raises:
        MediaError, DataError, UnavailableError, GivenUpError: as `Predictor.predict`.
    """
    request = Request.of(file)
    with _clip(request, predictor, patience) as clip:
        if request.ask.whole:
            if clip is None:
                raise _nothing()
            return predictor.predict(clip, patience=patience)
        return _steps(request, clip, predictor, patience)


def _steps(request: Request, clip: Clip | None, predictor: Predictor, patience: Patience | None) -> bytes:
    ask, rate_hz, identity = request.ask, predictor.bundle.alignment.rate_hz, predictor.model.bundle_sha256
    before, steps = round((ask.new_s - ask.start_s) * rate_hz), round((ask.end_s - ask.start_s) * rate_hz)
    encodings, notes = Encodings(features={}, scores={}), []
    if clip is not None:
        _, own = predictor.read(clip, before=ask.said, patience=patience)
        notes = unread_notes(predictor.modalities, {name: why.words for name, why in own.unread.items()})
        encodings = Encodings(
            features={name: _of_length(encoded, steps) for name, encoded in own.features.items()},
            scores={name: _of_length(encoded, steps) for name, encoded in own.scores.items()},
        )
    past = Past.unpack(request.past if ask.past_of == identity else b"")
    moments, past = predictor.advance(encodings, steps, slice(before, steps), past)
    moved = tuple(
        moment.model_copy(
            update={"start_s": round(ask.new_s + moment.start_s, 6), "end_s": round(ask.new_s + moment.end_s, 6)}
        )
        for moment in moments
    )
    return reply(Reply(moments=moved, bundle_sha256=identity, notes=tuple(notes)), past.pack())


def _of_length(encoded: Encoded, steps: int) -> Encoded:
    """What was sent may end before the part does: the steps after it have nothing."""
    lacking = max(steps - encoded.valid.size, 0)
    return Encoded(np.pad(encoded.values, ((0, lacking), (0, 0)))[:steps], np.pad(encoded.valid, (0, lacking))[:steps])


@contextmanager
def _clip(request: Request, predictor: Predictor, patience: Patience | None) -> Iterator[Clip | None]:
    """The part of the stream as a clip, whose files lie beside the request; None where nothing was sent for it."""
    ask = request.ask
    part = Part(start_s=ask.start_s, end_s=ask.end_s, sound_hz=ask.sound_hz)
    files = predictor.guard.recorded(request.file, part, offset=request.offset, patience=patience)
    if files.media is None and files.signals is None and not files.words:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="part-", dir=request.file.parent))
    try:
        media = _written(folder / f"{NAME}.mkv", files.media)
        physio = _written(folder / "signals.parquet", files.signals)
        words = tuple(Word(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s in files.words)
        said = Said(text=" ".join(word.text for word in words), words=words)
        content = file_sha256(request.file)
        yield clip_of_request(NAME, content, media, said, has_picture=files.has_picture, physio=physio)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written(path: Path, data: bytes | None) -> Path | None:
    if data is None:
        return None
    path.write_bytes(data)
    return path


def _nothing() -> MediaError:
    return MediaError(
        "nothing was sent", where="stream", allowed="sound, pictures, words or body signals", code=Code.NO_MEDIA
    )
