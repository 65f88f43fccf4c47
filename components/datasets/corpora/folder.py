"""Any folder of recordings or photographs that is sorted by emotion: `<root>/<emotion>/…/<recording>`.

A folder's name is a canonical emotion, or one that `emotions:` maps to one. The person is found in the path below the
emotion's folder by `subject`, a regular expression with a group `subject`; without one, the folder below the emotion
names the person (`anger/ann/take1.mp4`). A clip without either counts as a separate person, and a note in the summary
warns that splits may then put one person on both sides. Where people are the first level and emotions the second
(`ann/anger/take1.mp4`), by the names of most recordings' folders, the folders are read that way round. A note names the
reading that was taken wherever the folders admit a second one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.labels import CANONICAL
from components.contracts.records import Clip, Quarantined
from components.datasets.about import About
from components.datasets.base import (
    NOT_HASHED,
    PICTURES,
    SOUND,
    VIDEO,
    Adapter,
    Scan,
    corpus_folder,
    media_files,
    set_aside,
    stored_path,
)
from components.datasets.names import name_of, names_of, one_spelling
from components.datasets.stills import picture_notes, without_previews

SUBJECT = "subject"
OTHERWISE = "Set `folder: subject:` to name the person otherwise"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The level of folders that names the emotion, 0 for the first, and notes where a second reading was possible."""

    emotion_level: int
    notes: tuple[str, ...] = ()


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
        title="Class-named folders of recordings or photographs",
        modalities=("face", "voice"),
        how="Sort your recordings into one folder per emotion, and in it one folder per person",
        consent="as its section says",
    )
    Options = FolderOptions

    def scan(self, options: FolderOptions, root: Path, seed: int) -> Scan:
        """Lists the recordings; see `Adapter.scan`."""
        folder = corpus_folder(options.root, root, dataset=self.name)
        emotions = names_of(options.emotions)
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        unnamed = 0
        paths, previews = without_previews(media_files(folder, VIDEO + SOUND + PICTURES))
        folders_of = {path: [name_of(part) for part in path.relative_to(folder).parts[:-1]] for path in paths}
        reading = read_layout(folders_of.values(), {*emotions, *CANONICAL}, person_stated=options.subject is not None)
        for path, folders in folders_of.items():
            below = path.relative_to(folder)
            stored = stored_path(path, folder, options.root)
            if not folders:
                quarantined.append(_without_emotion(below, stored))
                continue
            at = reading.emotion_level if len(folders) > reading.emotion_level else 0
            beside = [*folders[:at], *folders[at + 1 :]]
            subject = _subject(beside, below.name, options.subject)
            unnamed += subject is None
            emotion = emotions.get(folders[at], folders[at].lower())
            clips.append(_clip(below, stored, subject, emotion, options))
        notes = [*reading.notes, *picture_notes(clips, previews)]
        if unnamed:
            notes.append(
                f"the person in {unnamed} clips is unknown: each counts as a separate person, so one person may be in "
                "training and in test. Set `folder: subject:`, or put one folder per person below each emotion"
            )
        return Scan(clips=clips, quarantined=quarantined, notes=notes)


def read_layout(
    folders_of: Iterable[Sequence[str]], emotions: Collection[str], *, person_stated: bool = False
) -> Reading:
    """Which level of folders names the emotion.

    Args:
        folders_of: the folders of each recording, from the corpus's root on.
        emotions: the names of emotions, mapped and canonical.
        person_stated: whether `subject:` says where the person is named.
    """
    nested = [tuple(folders) for folders in folders_of if len(folders) > 1]
    named = [tuple(name in emotions or name.lower() in emotions for name in folders[:2]) for folders in nested]
    first, second, both = (Counter(named)[levels] for levels in ((True, False), (False, True), (True, True)))
    if second > first + both:
        example = "/".join(nested[named.index((False, True))][:2])
        rest = f", which {len(nested) - second} do not fit" if second < len(nested) else ""
        note = f"the folders are read as <person>/<emotion>{rest}: by their names {example} is a person's emotion"
        return Reading(emotion_level=1, notes=(note,))
    notes = []
    if both:
        emotion, person = nested[named.index((True, True))][:2]
        notes.append(
            f"{both} recordings lie in two folders that name an emotion: of {emotion}/{person} {emotion} is taken as "
            f"the emotion and {person} as the person. {OTHERWISE}"
        )
    deep = [folders for folders in nested if len(folders) > 2 and not person_stated]
    if deep:
        person, last = deep[0][1], deep[0][-1]
        notes.append(
            f"{len(deep)} recordings lie more than one folder below their emotion: of {'/'.join(deep[0])} {person} is "
            f"taken as the person, not {last}. {OTHERWISE}"
        )
    return Reading(emotion_level=0, notes=tuple(notes))


def _subject(folders: Sequence[str], file: str, pattern: str | None) -> str | None:
    """The person of a recording, from its file name and its folders but that of the emotion."""
    if pattern is not None:
        match = re.search(pattern, "/".join([*folders, one_spelling(file)]))
        return match.group(SUBJECT) if match else None
    return folders[0] if folders else None


def _clip(below: Path, stored: str, subject: str | None, emotion: str, options: FolderOptions) -> Clip:
    name = below.as_posix()
    person = f"{Folder.name}/{subject or name}"
    is_video = below.suffix.lower() in (*VIDEO, *PICTURES)
    return Clip(
        clip_id=f"{Folder.name}/{name}",
        dataset=Folder.name,
        content_sha256=NOT_HASHED,
        subject_id=person,
        session_id=person,
        video_path=stored if is_video else None,
        audio_path=None if is_video else stored,
        emotion=emotion,
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
