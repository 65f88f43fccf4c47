"""Picture files among recordings: a photograph is a clip of one moment, and a recording's preview is not a clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from components.contracts.records import Clip
from components.datasets.base import PICTURES


def without_previews(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The files without pictures that are named like a recording beside them (`a.jpg` beside `a.mp4`), and those
    pictures: recorders and players keep a preview or a cover so."""
    listed = list(files)
    recordings = {path.with_suffix("") for path in listed if not is_picture(path)}
    previews = [path for path in listed if is_picture(path) and path.with_suffix("") in recordings]
    left_out = set(previews)
    return [path for path in listed if path not in left_out], previews


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture: a photograph or an animation."""
    return path.suffix.lower() in PICTURES


def picture_notes(clips: Iterable[Clip], previews: Sequence[Path] = ()) -> list[str]:
    """What was done with picture files, for a person: the clips that are pictures, and the previews left out."""
    notes = []
    if used := sum(clip.video_path is not None and is_picture(Path(clip.video_path)) for clip in clips):
        notes.append(
            f"{used} clips are pictures: a photograph is a clip of one moment, about whose change over time nothing is "
            "known"
        )
    if previews:
        notes.append(
            f"{len(previews)} pictures are left out as previews, since they are named like a recording beside them "
            f"({previews[0].name})"
        )
    return notes
