"""Reads a multipart request straight to disk, under limits, without trusting any length or name in it.

The body is parsed while it arrives: the clip goes to a file in a private folder, never more bytes than the limit are
kept, and the folder is removed with the `Upload`. No web framework is used here.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import TracebackType
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from components.contracts.codes import Code
from components.contracts.errors import DataError, MediaError, nearest
from components.contracts.room import full_disk_named
from components.media.tracks import track_number

FILES = ("clip", "physio")
# Texts are kept as files too: they are read where media are, in the guarded child.
READ_LATER = ("transcript", "words")
TRACKS = ("video_track", "audio_track")
TEXTS = (*READ_LATER, *TRACKS)
MAX_TRACK_BYTES = 3  # so the number stays below 1000
MAX_TEXT_BYTES = 1 << 20
MAX_TRANSCRIPT_BYTES = 4 << 20  # a recogniser's JSON
MAX_PHYSIO_BYTES = 64 << 20
# At most four bytes per character: below the 255 bytes of a file name.
MAX_NAME_CHARACTERS = 60
MAX_PARTS = 16
JOB = "job"  # of a request with many clips: what is asked, as JSON
MAX_JOB_BYTES = 8 << 20
# Bytes that the headers and boundaries of a form may add to the payloads.
OVERHEAD_BYTES = 1 << 16
# A client that receives "too large" while it is still sending often reports a broken pipe instead of the message, so a
# body somewhat over the limit is read to its end and discarded.
DRAIN_FACTOR = 2


@dataclass(frozen=True, kw_only=True)
class Form:
    """Which parts a request may have.

    Attributes:
        limits: part → its most bytes.
        files: parts that are files; names are sent with them.
        read_later: parts that are kept as files, too.
        repeated: whether a file may come several times, with different names.
        parts: the most parts.
    """

    limits: Mapping[str, int]
    files: tuple[str, ...] = FILES
    read_later: tuple[str, ...] = READ_LATER
    repeated: bool = False
    parts: int = MAX_PARTS


def form_of_one(max_clip_bytes: int) -> Form:
    """A request with one clip."""
    limits = {"clip": max_clip_bytes, "physio": MAX_PHYSIO_BYTES, "transcript": MAX_TRANSCRIPT_BYTES}
    return Form(limits={**limits, "words": MAX_TEXT_BYTES, **dict.fromkeys(TRACKS, MAX_TRACK_BYTES)})


def form_of_many(max_clip_bytes: int, max_clips: int) -> Form:
    """A request with many clips and, as `JOB`, what is asked of them."""
    limits = {"clip": max_clip_bytes, "physio": MAX_PHYSIO_BYTES, JOB: MAX_JOB_BYTES}
    return Form(limits=limits, read_later=(), repeated=True, parts=len(FILES) * max_clips + 1)


@dataclass(kw_only=True)
class Upload:
    """A request's content on disk. A context manager: the folder is removed on leaving it.

    Attributes:
        folder: where it is.
        names: part → name of its file; of a form where files repeat, part and name → name.
        texts: part → its text.
    """

    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Deletes everything that was received."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, part: str) -> Path | None:
        """The path of a file part, under its own (safe) name, or None if it was not sent."""
        return self.folder / part / self.names[part] if part in self.names else None

    def track(self, part: str) -> int | None:
        """The number of the chosen track of a part in TRACKS, from 1; None without one. Raises DataError."""
        return track_number(self.texts.get(part), where=part)

    @property
    def clip(self) -> Path:
        """The path of the clip. Raises DataError when it was not sent."""
        path = self.path("clip")
        if path is None:
            raise DataError(
                "the request has no file part named 'clip'",
                where="request",
                seen=", ".join([*self.names, *self.texts]) or "no parts",
                allowed=", ".join([*FILES, *TEXTS]),
                remedy="curl -F clip=@clip.mp4 …",
                code=Code.BAD_REQUEST,
            )
        return path


async def receive(
    stream: AsyncIterator[bytes], content_type: str, *, max_clip_bytes: int, folder: Path | None = None
) -> Upload:
    """Reads a whole multipart/form-data body.

    Args:
        stream: the body's blocks.
        content_type: the request's header.
        max_clip_bytes: the most that the clip may have.
        folder: where it is kept, in a folder of its own; by default that of temporary files.

    Raises:
        DataError: the body is not multipart or malformed, or has an unknown part (`bad-request`).
        MediaError: a part over its limit (`too-large`).
        UnavailableError: the disk is full (`no-room`).
    """
    with full_disk_named():
        upload = Upload(folder=Path(tempfile.mkdtemp(prefix="mer-upload-", dir=folder)))
        try:
            await read_form(
                upload,
                stream,
                content_type,
                form_of_one(max_clip_bytes),
                most=largest_body(DRAIN_FACTOR * max_clip_bytes),
            )
            _ = upload.clip, [upload.track(part) for part in TRACKS]
        except BaseException:
            upload.remove()
            raise
        return upload


async def read_form(upload: Upload, stream: AsyncIterator[bytes], content_type: str, form: Form, *, most: int) -> None:
    """Reads a multipart/form-data body into `upload`.

    Args:
        upload: with an empty folder.
        stream, content_type: as of `receive`.
        form: what it may have.
        most: bytes after which the rest is not read.

    Raises:
        DataError, MediaError: as `receive`.
    """
    reader = _BodyReader(upload, content_type, form)
    received = 0
    async for block in stream:
        received += len(block)
        if received > most:
            break
        if reader.refused is None:
            reader.write(block)
    reader.finish()


def largest_body(max_clip_bytes: int) -> int:
    """The most bytes of a body whose parts keep to their limits."""
    return max_clip_bytes + MAX_PHYSIO_BYTES + MAX_TRANSCRIPT_BYTES + MAX_TEXT_BYTES + OVERHEAD_BYTES


class _BodyReader:
    """Callbacks of the parser; the first error is kept and raised at the end of the body."""

    def __init__(self, upload: Upload, content_type: str, form: Form) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise DataError(
                "the request is not a form with files",
                where="Content-Type",
                seen=content_type[:MAX_NAME_CHARACTERS] or "nothing",
                allowed="multipart/form-data with a boundary",
                remedy="curl -F clip=@clip.mp4 …",
                code=Code.BAD_REQUEST,
            )
        self._upload = upload
        self._form = form
        self._parts = 0
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._part = ""
        self._size = 0
        self._text = bytearray()
        self._file: BinaryIO | None = None
        self._ended = False
        self.refused: Exception | None = None
        self._parser = self._parser_of(options[b"boundary"])

    def _parser_of(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": self._on_part,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:  # RFC 2046 allows 70 characters
            raise _malformed(error) from error

    def write(self, block: bytes) -> None:
        """Feeds the parser; keeps its error, if any."""
        self._keep(lambda: self._parser.write(block))

    def finish(self) -> None:
        """Raises the first error, or one for a body that was cut off."""
        if self.refused is None:
            self._keep(self._parser.finalize)
        if self._file is not None:
            self._file.close()
        if self.refused is not None:
            raise self.refused
        if not self._ended:
            raise DataError("the request was cut off before its end", where="request", code=Code.BAD_REQUEST)

    def _keep(self, step: Callable[[], object]) -> None:
        try:
            step()
        except (DataError, MediaError) as error:
            self.refused = error
        except FormParserError as error:
            self.refused = _malformed(error)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._form.parts:
            raise DataError("too many parts", where="request", allowed=f"{self._form.parts}", code=Code.BAD_REQUEST)
        self._header, self._value, self._disposition = b"", b"", b""
        self._size, self._text = 0, bytearray()

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        form, parts = self._form, tuple(self._form.limits)
        if self._part not in parts:
            raise DataError(
                "unknown part",
                where="request",
                seen=self._part[:MAX_NAME_CHARACTERS],
                allowed=", ".join(parts),
                remedy=nearest(self._part, parts),
                code=Code.BAD_REQUEST,
            )
        in_file = self._part in (*form.files, *form.read_later)
        sent = options.get(b"filename", b"").decode("utf-8", "replace") if self._part in form.files else self._part
        name = safe_name(sent)
        key = f"{self._part}/{name}" if form.repeated and in_file else self._part
        if key in self._upload.names or key in self._upload.texts:
            raise DataError("the part was sent twice", where="request", seen=key, code=Code.BAD_REQUEST)
        if in_file:
            self._upload.names[key] = name
            path = self._upload.folder / self._part / name
            path.parent.mkdir(exist_ok=form.repeated)
            self._file = path.open("wb")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        limit = self._form.limits[self._part]
        if self._size > limit:
            raise MediaError(
                "this part is too large",
                where=self._upload.names.get(self._part, self._part),
                seen=f"more than {limit} bytes",
                allowed=f"at most {limit} bytes",
                remedy="Cut the clip, or raise serving.upload_limits.max_bytes.",
                code=Code.TOO_LARGE,
            )
        if self._file is not None:
            self._file.write(data[start:end])
        else:
            self._text += data[start:end]

    def _on_part(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            return
        self._upload.texts[self._part] = self._text.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True


def _malformed(error: FormParserError) -> DataError:
    return DataError("malformed multipart body", where="request", seen=str(error), code=Code.BAD_REQUEST)


def safe_name(name: str) -> str:
    """The last part of a file name as sent, printable and bounded; 'clip' when nothing remains."""
    last = PureWindowsPath(PurePosixPath(name).name).name
    printable = "".join(character for character in last if character.isprintable()).strip()[-MAX_NAME_CHARACTERS:]
    return printable if printable.strip(".") else "clip"
