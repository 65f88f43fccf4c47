"""The first pass over a file, on the track that shows or says something, with the mix that keeps its sound.

An ordinary file is read once. It is read again where

* the picture track that the flags choose is a still (one picture, as cover art without its flag) and another is not,
* the usual mix of its channels loses the sound (`channels.py`),
* the sound track that the flags choose is silent, or nothing of it decodes, and another is not.

A track that a person chose by its number is never exchanged for another. Picture files (`images.py`) have no tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.channels import Mix
from components.media.images import image_times
from components.media.probe import image_format
from components.media.scan import FileScan, Pictures, scan
from components.media.sound import Sound, levels_dbfs
from components.media.span import Span
from components.media.tracks import MAX_TRIED, PICTURE_FILE, Choice, Choices, Track, TrackNote, ranked, why_used

SILENCE_STEP_S = 0.1  # a track is silent when no stretch of this length is louder than the floor

Pass = Callable[..., FileScan]


@dataclass(frozen=True, kw_only=True)
class ChosenScan:
    """The result of the first pass over the chosen tracks, and what was chosen among several, for a person."""

    scan: FileScan
    notes: tuple[str, ...] = ()


def scan_chosen(
    path: Path,
    limits: MediaLimits,
    *,
    rate_hz: int,
    floor_dbfs: float,
    where: str,
    picture: bool,
    sound: bool,
    span: Span | None = None,
    choices: Choices,
) -> ChosenScan:
    """As `scan.scan`; `floor_dbfs` is the level of silence, dB of full scale."""
    if image_format(path) is not None:
        return ChosenScan(scan=_image_scan(path, limits, where=where, picture=picture, span=span, choices=choices))
    read = partial(scan, path, limits, rate_hz=rate_hz, where=where, picture=picture, sound=sound, span=span)
    scanned = read(choices=choices)
    notes = []
    if picture:
        scanned, choices, why = _giving_way(read, scanned, choices, kind="picture", useless=_is_still, why="a still")
        notes += _notes("picture", scanned.picture_tracks, choices.picture, why, where)
    if sound:
        scanned = _kept(read, scanned, choices)
        scanned, choices, why = _giving_way(
            read,
            scanned,
            choices,
            kind="sound",
            useless=lambda attempt: is_silent(attempt.sound, floor_dbfs),
            why="silent",
        )
        notes += _notes("sound", scanned.sound_tracks, choices.sound, why, where)
        notes += [str(mix) for mix in scanned.sound.mixes] if scanned.sound is not None else []
    return ChosenScan(scan=scanned, notes=tuple(notes))


def _image_scan(
    path: Path, limits: MediaLimits, *, where: str, picture: bool, span: Span | None, choices: Choices
) -> FileScan:
    """The first pass over a picture file."""
    if picture:
        choices.picture.of([PICTURE_FILE], "picture", where)
    if span is not None:
        raise MediaError(
            "a picture file has no stretches",
            where=where,
            seen=f"a stretch from {span.start_s:g} s on",
            allowed="the whole file",
            remedy="Take the times out of the row; save an animation as mp4 or webm to cut it into clips",
            code=Code.BAD_SPAN,
        )
    shown = image_times(path, limits, where=where) if picture else None
    return FileScan(
        pictures=None
        if shown is None
        else Pictures(times_s=shown.times_s, end_s=shown.end_s, declared_end_s=None, is_still=shown.is_still),
        sound=None,
        has_picture_stream=True,
        has_sound_stream=False,
        broke_off=None,
    )


def _giving_way(
    read: Pass, scanned: FileScan, choices: Choices, *, kind: str, useless: Callable[[FileScan], bool], why: str
) -> tuple[FileScan, Choices, str]:
    """The first track of a kind that is not useless, else the chosen one; further the choices, and why it is this one.

    Args:
        kind: picture or sound.
        why: the word for a track that gives way.
    """
    choice, tracks = getattr(choices, kind), getattr(scanned, f"{kind}_tracks")
    others = _others(choice, tracks)
    if others and useless(scanned):
        for other in others:
            changed = replace(choices, **{kind: other})
            attempt = _attempt(read, changed)
            if attempt is not None and not useless(attempt):
                return attempt, changed, f"since track {ranked(tracks)[choice.rank].number} is {why}"
    return scanned, choices, why_used(choice, tracks)


def _kept(read: Pass, scanned: FileScan, choices: Choices) -> FileScan:
    """The scan, once more with fair mixes where FFmpeg's lose the sound."""
    mixes: Mapping[str, Mix] = scanned.lossy
    return read(choices=choices, mixes=mixes) if mixes else scanned


def _others(choice: Choice, tracks: Sequence[Track]) -> list[Choice]:
    if choice.number is not None:
        return []
    return [Choice(rank=rank) for rank in range(min(len(ranked(tracks)), MAX_TRIED)) if rank != choice.rank]


def _attempt(read: Pass, choices: Choices) -> FileScan | None:
    """The scan of other tracks; None where they cannot be used, which is not a reason to refuse the file."""
    try:
        return _kept(read, read(choices=choices), choices)
    except MediaError:
        return None


def _notes(kind: str, tracks: tuple[Track, ...], choice: Choice, why: str, where: str) -> list[str]:
    used = choice.of(tracks, kind, where) if len(tracks) > 1 else None
    return [] if used is None else [str(TrackNote(kind=kind, tracks=tracks, used=used, why=why))]


def _is_still(scanned: FileScan) -> bool:
    return scanned.pictures is None or scanned.pictures.times_s.size < 2


def is_silent(sound: Sound | None, floor_dbfs: float) -> bool:
    """Whether no stretch of SILENCE_STEP_S of a sound is louder than the floor."""
    if sound is None:
        return True
    for run in sound.runs:
        starts_s = np.arange(0.0, run.pcm.size / sound.rate_hz, SILENCE_STEP_S)
        exists = np.ones(run.pcm.size, dtype=bool)
        level, _ = levels_dbfs(run.pcm, exists, sound.rate_hz, starts_s, SILENCE_STEP_S)
        if level.max(initial=-np.inf) > floor_dbfs:
            return False
    return True
