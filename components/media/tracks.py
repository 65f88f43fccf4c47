"""Which of a file's tracks is used, and how that is said to a person.

A recording may hold several sound tracks (languages, a microphone per person, a camera's own sound beside a recorder's)
and several picture tracks (angles, a cover). One of each kind is used: the one that a person names by its number, else
the first with the default flag, else the first (Matroska, RFC 9559 section 5.1.4.1.5; in mp4 the flag is "track
enabled"). Cover pictures are not tracks. Numbers count from 1 in the file's order, per kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.codes import Code
from components.contracts.errors import DataError, MediaError
from components.contracts.records import Clip

# Bits of a stream's disposition (FFmpeg's avformat.h).
DEFAULT = 0x0001
NOT_A_TRACK = 0x0400 | 0x0800  # cover art and timed thumbnails
UNNAMED = frozenset({"", "und"})
MAX_TRIED = 8  # candidates of a kind that are looked at when the one before turns out to be silent or a still


@dataclass(frozen=True, kw_only=True)
class Track:
    """One track: its number among those of its kind, its stream's index in the file, and its tags."""

    number: int
    index: int
    is_default: bool
    decodes: bool
    language: str = ""
    title: str = ""

    def __str__(self) -> str:
        tags = [self.language] * (self.language not in UNNAMED) + [f"“{self.title}”"] * bool(self.title)
        tags += ["no decoder"] * (not self.decodes)
        return str(self.number) + (f" ({', '.join(tags)})" if tags else "")


PICTURE_FILE = Track(number=1, index=0, is_default=True, decodes=True)  # a photograph, as the only track of its file


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A choice among the tracks of a kind: by `number`, or the one of this `rank` by the default flag."""

    number: int | None = None
    rank: int = 0

    def of(self, tracks: Sequence[Track], kind: str, where: str) -> Track | None:
        """The chosen track; None where the file has none of its kind, or none of that rank.

        Raises:
            MediaError: `no-track`, where there is no decodable track of that number.
        """
        if self.number is None:
            candidates = ranked(tracks)
            return candidates[self.rank] if self.rank < len(candidates) else None
        track = next((track for track in tracks if track.number == self.number and track.decodes), None)
        if track is None:
            raise no_track(kind, self.number, tracks, where)
        return track


BY_FLAG = Choice()


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The choices of both kinds in one file."""

    picture: Choice = BY_FLAG
    sound: Choice = BY_FLAG


BY_FLAGS = Choices()


@dataclass(frozen=True, kw_only=True)
class TrackNote:
    """What was chosen among several tracks of a kind, and why."""

    kind: str
    tracks: tuple[Track, ...]
    used: Track
    why: str

    def __str__(self) -> str:
        return f"{len(self.tracks)} {self.kind} tracks: track {self.used} is used, {self.why}"


def picture_tracks(container: Any) -> tuple[Track, ...]:
    """The picture tracks of a PyAV container in the file's order, without cover art."""
    return _tracks(stream for stream in container.streams.video if not int(stream.disposition) & NOT_A_TRACK)


def sound_tracks(container: Any) -> tuple[Track, ...]:
    """The sound tracks of a PyAV container in the file's order."""
    return _tracks(container.streams.audio)


def ranked(tracks: Sequence[Track]) -> list[Track]:
    """The decodable tracks: those with the default flag first, each group in the file's order."""
    return sorted((track for track in tracks if track.decodes), key=lambda track: not track.is_default)


def why_used(choice: Choice, tracks: Sequence[Track]) -> str:
    """Why a choice that was not changed later fell on its track."""
    if choice.number is not None:
        return "as requested"
    flagged = any(track.is_default for track in tracks) and not all(track.is_default for track in tracks)
    return "the default one" if flagged else "the first one"


def no_track(kind: str, number: int, tracks: Sequence[Track], where: str) -> MediaError:
    """The error for a track that the file does not have, or that nothing here decodes."""
    names = ", ".join(str(track) for track in tracks)
    return MediaError(
        f"there is no {kind} track of that number" if all(track.number != number for track in tracks)
        else f"the {kind} track of that number cannot be decoded",
        where=where,
        seen=f"{kind} track {number}",
        allowed=f"{kind} track {names}" if tracks else f"none: the file has no {kind} track",
        remedy="Choose a track that is there, or leave the choice out: the track with the default flag is then used",
        code=Code.NO_TRACK,
    )  # fmt: skip


def check_choices(clip: Clip) -> None:
    """Raises MediaError (`no-track`) where a track is chosen and the clip has no file that could have one."""
    if clip.video_track is not None and clip.video_path is None:
        raise no_track("picture", clip.video_track, (), clip.clip_id)
    if clip.audio_track is not None and clip.video_path is None and clip.audio_path is None:
        raise no_track("sound", clip.audio_track, (), clip.clip_id)


def track_number(value: object, *, where: str) -> int | None:
    """The number of a chosen track in a request, as text or as a cell of a table; None for an empty one.

    Raises:
        DataError: `bad-request`, it is not a whole number from 1.
    """
    text = f"{value:g}" if isinstance(value, float) else "" if value is None else str(value).strip()
    if text in ("", "nan"):
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise DataError(
            "this is not the number of a track",
            where=where,
            seen=text,
            allowed="1, 2, …",
            remedy="Leave it out to use the track with the default flag",
            code=Code.BAD_REQUEST,
        )
    return int(text)


def _tracks(streams: Any) -> tuple[Track, ...]:
    return tuple(
        Track(
            number=number,
            index=stream.index,
            is_default=bool(int(stream.disposition) & DEFAULT),
            decodes=stream.codec_context is not None,
            language=_tag(stream, "language"),
            title=_tag(stream, "title"),
        )
        for number, stream in enumerate(streams, start=1)
    )


def _tag(stream: Any, name: str) -> str:
    text = str(stream.metadata.get(name, ""))
    return "".join(character for character in text if character.isprintable()).strip()[:40]
