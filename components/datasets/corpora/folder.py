"""Any folder of recordings that is sorted by emotion: `<root>/<emotion>/…/<recording>`.

A folder's name is a canonical emotion, or one that `emotions:` maps to one. The person is found in the path below the
emotion's folder by `subject`, a regular expression with a group `subject`; without one, a folder between the emotion
and the file names the person (`anger/ann/take1.mp4`). A clip without either counts as a separate person, and a note in
the summary warns that splits may then put one person on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.records import Clip, Quarantined
from components.datasets.about import About
from components.datasets.base import (
    NOT_HASHED,
    SOUND,
    VIDEO,
    Adapter,
    Scan,
    corpus_folder,
    media_files,
    set_aside,
    stored_path,
)

SUBJECT = "subject"


class FolderOptions(Section):
    """The section `folder:` of params.yaml."""

    root: str
    """The folder of recordings, absolute or relative to the project, or `s3://…`."""

    emotions: Mapping[str, str] = Field(default_factory=dict)
    """Folder name → canonical emotion, for names that are not canonical themselves."""

    subject: str | None = None
    """A regular expression with a group `subject`, searched in the path below the emotion's folder: who is recorded.
    With null a folder between the emotion and the file names the person."""

    licence: str = Field(min_length=1)
    """The terms of the recordings, written on every clip."""

    consent: str = Field(min_length=1)
    """What the people in the recordings agreed to, written on every clip."""

    @field_validator("subject")
    @classmethod
    def _has_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"this is not a regular expression: {error}") from error
        if SUBJECT not in groups:
            raise ValueError("the expression needs a group named subject, such as (?P<subject>[^_]+)_")
        return pattern


class Folder(Adapter[FolderOptions]):
    """The adapter of class-named folders."""

    name = "folder"
    licence = "as its section says"
    about = About(
        title="Class-named folders of recordings",
        modalities=("face", "voice"),
        how="Sort your recordings into one folder per emotion, and in it one folder per person",
        consent="as its section says",
    )
    Options = FolderOptions

    def scan(self, options: FolderOptions, root: Path, seed: int) -> Scan:
        """Lists the recordings; see `Adapter.scan`."""
        folder = corpus_folder(options.root, root, dataset=self.name)
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        unnamed = 0
        for path in media_files(folder, VIDEO + SOUND):
            below = path.relative_to(folder)
            stored = stored_path(path, folder, options.root)
            if len(below.parts) == 1:
                quarantined.append(_without_emotion(below, stored))
                continue
            subject = _subject(Path(*below.parts[1:]), options.subject)
            unnamed += subject is None
            clips.append(_clip(below, stored, subject, options))
        notes = []
        if unnamed:
            notes.append(
                f"the person in {unnamed} clips is unknown: each counts as a separate person, so one person may be in "
                "training and in test. Set `folder: subject:`, or put one folder per person below each emotion"
            )
        return Scan(clips=clips, quarantined=quarantined, notes=notes)


def _subject(below: Path, pattern: str | None) -> str | None:
    if pattern is not None:
        match = re.search(pattern, below.as_posix())
        return match.group(SUBJECT) if match else None
    return below.parts[0] if len(below.parts) > 1 else None


def _clip(below: Path, stored: str, subject: str | None, options: FolderOptions) -> Clip:
    name = below.as_posix()
    person = f"{Folder.name}/{subject or name}"
    emotion = below.parts[0]
    is_video = below.suffix.lower() in VIDEO
    return Clip(
        clip_id=f"{Folder.name}/{name}",
        dataset=Folder.name,
        content_sha256=NOT_HASHED,
        subject_id=person,
        session_id=person,
        video_path=stored if is_video else None,
        audio_path=None if is_video else stored,
        emotion=options.emotions.get(emotion, emotion.lower()),
        licence=options.licence,
        consent=options.consent,
    )


def _without_emotion(below: Path, stored: str) -> Quarantined:
    return set_aside(
        Folder.name,
        below.name,
        code=Code.CLIP_WITHOUT_LABEL,
        message=f"{below.name} is not in the folder of an emotion",
        path=stored,
        allowed="<root>/<emotion>/<recording>",
        remedy="Move it into the folder of its emotion",
    )
