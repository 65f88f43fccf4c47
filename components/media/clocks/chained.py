"""Files put end to end that are read link by link: chained Ogg (RFC 3533, section 4) and joined Matroska or WebM.

A player shows the links one after the other. FFmpeg reads chained Ogg as one stream, but keeps the headers of the first
link: one with more channels ends the file, and the first packet of a link has a stamp of the link before. Of joined
Matroska it reads two links. Here each link is opened by itself, and the packets of all come one after the other.
"""

from __future__ import annotations

import io
import itertools
import mmap
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

CAPTURE = b"OggS"
FIRST_PAGE = CAPTURE + b"\x00\x02"  # version 0, "beginning of stream" and nothing else
SEGMENT_COUNT_AT = 26  # in a page's header, before as many lengths of segments
EBML = b"\x1aE\xdf\xa3"
SEGMENT = b"\x18S\x80g"
MAX_LINKS = 200  # each stays open; the last one takes what is left
KNOWN_FILES = 64

Opener = Callable[[Any], Any]


def links_of(path: Path) -> Sequence[tuple[int, int]]:
    """(first byte, end) of the links of an Ogg or Matroska file, in order; none for any other file.

    A chained Ogg or a live recording is searched from end to end: once per version of a file, though it is opened at
    least twice per clip and once more for each span of it.
    """
    status = path.stat()
    return _links(path, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=KNOWN_FILES)
def _links(path: Path, version: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    with path.open("rb") as file:
        starts = STARTS.get(file.read(len(CAPTURE)))
        if starts is None:
            return ()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            firsts = list(itertools.islice(starts(data), MAX_LINKS))
            return tuple(itertools.pairwise([*firsts, len(data)])) if firsts else ()


def _ogg_starts(data: mmap.mmap) -> Iterator[int]:
    at, after = data.find(FIRST_PAGE), -1
    while at >= 0:
        if at != after:  # first pages in a row begin the streams of one link
            yield at
        after = at + _page_bytes(data, at)
        at = data.find(FIRST_PAGE, at + 1)


def _matroska_starts(data: mmap.mmap) -> Iterator[int]:
    """Where each EBML header stands; a segment of known size is skipped, a live one is searched (RFC 8794, 9559)."""
    at = 0
    while at >= 0 and data[at : at + len(EBML)] == EBML:
        yield at
        content, end = _element(data, at + len(EBML))
        segment = end or content
        content, end = _element(data, segment + len(SEGMENT))
        known = end and data[segment : segment + len(SEGMENT)] == SEGMENT
        at = end if known else data.find(EBML, max(content, at + 1))


def _element(data: mmap.mmap, at: int) -> tuple[int, int]:
    """(first byte, end) of the content of an element whose size stands at `at`; the end is 0 where it is unknown."""
    first = data[at] if at < len(data) else 0
    length = 9 - first.bit_length() if first else 1
    largest = (1 << 7 * length) - 1
    size = int.from_bytes(data[at : at + length], "big") & largest
    return at + length, 0 if size == largest else at + length + size


def _page_bytes(data: mmap.mmap, at: int) -> int:
    lengths = at + SEGMENT_COUNT_AT + 1
    count = data[lengths - 1] if lengths <= len(data) else 0
    return lengths - at + count + sum(data[lengths : lengths + count])


STARTS: dict[bytes, Callable[[mmap.mmap], Iterator[int]]] = {CAPTURE: _ogg_starts, EBML: _matroska_starts}


class Link(io.RawIOBase):
    """One link of a file as a file of its own, for reading."""

    def __init__(self, path: Path, first: int, end: int) -> None:
        self._file = path.open("rb")
        self._first, self._size = first, end - first
        self._file.seek(first)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position in the link."""
        return self._file.tell() - self._first

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves within the link."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        self._file.seek(self._first + max(0, base + offset))
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, none at the link's end."""
        left = max(0, self._size - self.tell())
        return self._file.read(left if size < 0 else min(size, left))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


class Chain:
    """The links of a file as one PyAV container, whose streams are those of the first link.

    Args:
        path: the file.
        links: as `links_of` returns them.
        opened: opens a link as a PyAV container.
    """

    def __init__(self, path: Path, links: Sequence[tuple[int, int]], opened: Opener) -> None:
        self._path, self._links, self._opener = path, links, opened
        self._containers = [opened(Link(path, *links[0]))]
        self.format, self.streams = self._containers[0].format, self._containers[0].streams
        self.duration = None  # no header covers all links

    def demux(self, *streams: Any) -> Iterator[Any]:
        """The packets of some streams, link by link; an empty one at the end of each flushes its decoder."""
        chosen = [stream.index for stream in _flat(streams)]
        for number, link in enumerate(self._links):
            if number == len(self._containers):
                self._containers.append(self._opener(Link(self._path, *link)))
            present = [stream for stream in self._containers[number].streams if stream.index in chosen]
            if present:
                yield from self._containers[number].demux(present)

    def seek(self, *_: Any, **__: Any) -> None:
        """Nothing: a chain is read from its beginning."""

    def close(self) -> None:
        """Closes all links: not before, since packets and streams of a closed container must not be touched."""
        for container in self._containers:
            container.close()

    def __enter__(self) -> Chain:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()


def _flat(streams: tuple[Any, ...]) -> Iterator[Any]:
    for stream in streams:
        yield from stream if isinstance(stream, list | tuple) else [stream]
