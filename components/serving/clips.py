"""A media file that belongs to no corpus, and the data sent with it, as a `Clip`: the row that alignment reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from components.alignment.guard import Guard
from components.alignment.said import Said
from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.contracts.fingerprint import file_sha256, fingerprint
from components.contracts.records import Clip, Word, words_to_json
from components.media.probe import PARQUET_MAGIC, check_file, is_text
from components.runtime.patience import Patience

SHOWN_BYTES = 24
MEDIA = "mp4, mov, mkv, webm, avi, wav, flac, ogg, mp3, m4a, …, or a photograph: jpg, png, webp"


def clip_of_file(
    path: Path,
    guard: Guard,
    *,
    transcript: str | Path | None = None,
    words: tuple[Word, ...] | Path = (),
    physio: Path | None = None,
    video_track: int | None = None,
    audio_track: int | None = None,
    patience: Patience | None = None,
) -> Clip:
    """The clip of one file, with the file's name as its id.

    Args:
        path: a video (its own sound is used), a sound file or a photograph.
        guard: of the predictor that will align the clip; it opens the file, under its limits.
        transcript: the spoken words, in any format of `datasets.transcripts`, or the file that holds them; spread over
            the speech where they have no times and `words` is empty.
        words: the spoken words, with times, or the file that holds them (`alignment.said.parse_words`).
        physio: a Parquet file with `time_s` and one column per channel.
        video_track, audio_track: which of several tracks to use, counted from 1; see `Clip`.
        patience: how long the caller waits; by default as long as it takes.

    Raises:
        MediaError: the file is missing, empty, a git-LFS pointer, over a limit, text, damaged, has neither picture nor
            sound, or crashes the process that opens it (codes of `media.source` and `media.probe`, `crashed`, and
            `unsupported-media`).
        DataError: as `alignment.said.read_said`.
        UnavailableError, GivenUpError: the patience of the caller ended.
    """
    check_media(path, guard.limits)
    in_file = words if isinstance(words, Path) else None
    has_picture, said = guard.opened(path, transcript=transcript, words=in_file, patience=patience)
    if not isinstance(words, Path) and words:
        said = Said(text=said.text or " ".join(word.text for word in words), words=words)
    if physio is not None:
        check_parquet(physio)
    media = [path] + ([physio] if physio else [])
    hashes = [file_sha256(file) for file in media]
    tracks = [f"video_track={video_track}"] * (video_track is not None)
    tracks += [f"audio_track={audio_track}"] * (audio_track is not None)
    content = fingerprint([*hashes, said.text, words_to_json(said.words), *tracks])
    clip = clip_of_request(path.name, content, path, said, has_picture=has_picture, physio=physio)
    return replace(clip, video_track=video_track, audio_track=audio_track)


def clip_of_request(
    name: str, content_sha256: str, media: Path | None, said: Said, *, has_picture: bool, physio: Path | None
) -> Clip:
    """A clip of nobody in particular, of files that were opened before."""
    return Clip(
        clip_id=name,
        dataset="request",
        content_sha256=content_sha256,
        subject_id="request/unknown",
        session_id="request/unknown",
        video_path=str(media) if media and has_picture else None,
        audio_path=str(media) if media and not has_picture else None,
        physio_path=str(physio) if physio else None,
        transcript=said.text or None,
        words=said.words,
    )


def check_media(path: Path, limits: MediaLimits) -> None:
    """Refuses a file that is plainly not a clip before any decoder opens it; errors as in `clip_of_file`."""
    head = check_file(path, max_bytes=limits.max_bytes, where=path.name)
    if is_text(head):
        raise MediaError(
            "this is a text file, not a media file",
            where=path.name,
            seen=head[:SHOWN_BYTES].decode("utf-8", "replace"),
            allowed=MEDIA,
            code=Code.UNSUPPORTED_MEDIA,
        )


def check_parquet(path: Path) -> None:
    """Refuses a physiological recording that is missing or not a Parquet file (MediaError `unsupported-media`)."""
    head = check_file(path, where=path.name)
    if not head.startswith(PARQUET_MAGIC):
        raise MediaError(
            "a physiological recording must be a Parquet file with a column `time_s` and one column per channel",
            where=path.name,
            seen=head[:SHOWN_BYTES].decode("utf-8", "replace") if is_text(head) else f"bytes {head[:4].hex(' ')}",
            allowed="Parquet",
            code=Code.UNSUPPORTED_MEDIA,
        )
