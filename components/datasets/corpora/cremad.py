"""CREMA-D: the Crowd-sourced Emotional Multimodal Actors Dataset (Cao et al. 2014; Open Database License).

91 actors speak twelve sentences in six emotions at up to four levels, 7,442 clips. Below `root`, as the corpus ships:

    VideoFlash/<actor>_<sentence>_<emotion>_<level>.flv     picture and sound
    AudioWAV/<the same>.wav                                 sound alone, 16 kHz
    VideoDemographics.csv                                   ActorID, Age, Sex, Race, Ethnicity
    processedResults/summaryTable.csv                       FileName, VoiceVote, FaceVote, MultiModalVote, …

A performance is one clip: its flv file, with the wav file in place of the sound that flash compression spoiled, or
whichever of the two exists. `label: intended` takes the emotion that the actor was asked to show; `voice`, `face` and
`both` take the one that most human raters perceived in that condition (a tie, written "A:N", is left without a label).
A git checkout without LFS contains pointer files; the stage reports each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.records import Clip, Quarantined
from components.datasets.about import About
from components.datasets.base import (
    NOT_HASHED,
    Adapter,
    Scan,
    bad_name,
    corpus_folder,
    media_files,
    set_aside,
    stored_path,
)
from components.datasets.names import name_of
from components.datasets.table import read_labels

NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")
PATTERN = "ACTOR_SENTENCE_EMOTION_LEVEL such as 1001_IEO_ANG_HI"
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
VOTES = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}
VOTE_COLUMNS = {"voice": "VoiceVote", "face": "FaceVote", "both": "MultiModalVote"}
AGES = (30, 50)


class CremadOptions(Section):
    """The section `cremad:` of params.yaml."""

    root: str
    """The corpus's folder, absolute or relative to the project, or `s3://…`."""

    label: Literal["intended", "voice", "face", "both"] = "intended"
    """Which emotion a clip has: the one that the actor was asked to show, or the one that most raters perceived in the
    voice, the face, or both together."""


@dataclass(kw_only=True)
class _Performance:
    """The files of one performance and the parts of their name."""

    parts: tuple[str, ...]
    video: str | None = None
    audio: str | None = None
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """The two optional tables: demographics by actor, and the raters' vote by clip."""

    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    votes: Mapping[str, str] = field(default_factory=dict)


class Cremad(Adapter[CremadOptions]):
    """The CREMA-D adapter."""

    name = "cremad"
    licence = "ODbL 1.0 (database), DbCL 1.0 (contents)"
    about = About(
        title="CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset",
        modalities=("face", "voice", "text"),
        access="open",
        how="`mer datasets download cremad` takes tables, picture and sound from the project's repository",
        homepage="https://github.com/CheyneyComputerScience/CREMA-D",
        paper="Cao et al. 2014, IEEE Trans. Affective Computing 5(4), https://doi.org/10.1109/TAFFC.2014.2336244",
        consent="actors agreed to publication of the recordings",
        labels=EMOTIONS,
        splits="none of its own: actors are dealt to splits",
    )
    Options = CremadOptions
    reads = ("VideoDemographics.csv", "processedResults/summaryTable.csv")

    def scan(self, options: CremadOptions, root: Path, seed: int) -> Scan:
        """Lists the performances; see `Adapter.scan`.

        Raises:
            DataError: also when raters' votes are selected and their table is missing.
        """
        folder = corpus_folder(options.root, root, dataset=self.name)
        performances: dict[str, _Performance] = {}
        quarantined: list[Quarantined] = []
        for path in media_files(folder, (".flv", ".mp4", ".wav")):
            stored = stored_path(path, folder, options.root)
            outcome = _parse(path, stored)
            if isinstance(outcome, Quarantined):
                quarantined.append(outcome)
                continue
            performance = performances.setdefault(path.stem, _Performance(parts=outcome, path=stored))
            if path.suffix == ".wav":
                performance.audio = performance.audio or stored
            else:
                performance.video = performance.video or stored
        tables, notes = _tables(folder, options, quarantined)
        clips = []
        for name, performance in sorted(performances.items()):
            emotion = EMOTIONS[performance.parts[2]] if options.label == "intended" else tables.votes.get(name)
            if emotion is None:
                quarantined.append(_no_majority(name, performance.path, options.label))
            else:
                clips.append(_clip(name, performance, emotion, tables))
        return Scan(clips=clips, quarantined=quarantined, notes=notes)


def _parse(path: Path, stored: str) -> tuple[str, ...] | Quarantined:
    """Actor, sentence, emotion and level, or a quarantine row with the wrong part."""
    match = NAME.fullmatch(path.stem)
    parts = match.groups() if match else ()
    tables = (SENTENCES, EMOTIONS, LEVELS)
    checks = zip(("sentence", "emotion", "level"), parts[1:], tables, strict=False)
    wrong = [(name, part, table) for name, part, table in checks if part not in table]
    if parts and not wrong:
        return parts
    name, part, allowed = wrong[0] if wrong else ("name", path.stem, (PATTERN,))
    what = f"the {name} {part} is unknown" if wrong else "this is not a CREMA-D name"
    return bad_name(Cremad.name, path, stored, what=what, field=name, seen=part, allowed=", ".join(allowed))


def _tables(folder: Path, options: CremadOptions, quarantined: list[Quarantined]) -> tuple[_Tables, list[str]]:
    """The tables, and notes; lines that do not fit a table's header go to quarantine."""
    notes = []
    groups: dict[str, dict[str, str]] = {}
    demographics = folder / "VideoDemographics.csv"
    if demographics.is_file():
        columns = ("Age", "Sex", "Race", "Ethnicity")
        labels = read_labels(demographics, key="ActorID", columns=columns, dataset=Cremad.name)
        quarantined += labels.quarantined
        for row in labels.rows:
            groups[name_of(row["ActorID"])] = {
                "gender": row["Sex"].lower(),
                "age": _age(row["Age"]),
                "race": row["Race"],
                "ethnicity": row["Ethnicity"],
            }
    else:
        notes.append("VideoDemographics.csv is missing: no slices by gender, age, race and ethnicity")
    votes: dict[str, str] = {}
    if options.label != "intended":
        column = VOTE_COLUMNS[options.label]
        table = folder / "processedResults" / "summaryTable.csv"
        labels = read_labels(table, key="FileName", columns=(column,), dataset=Cremad.name)
        quarantined += labels.quarantined
        for row in labels.rows:
            if row[column] in VOTES:
                votes[name_of(row["FileName"])] = VOTES[row[column]]
    return _Tables(groups=groups, votes=votes), notes


def _age(text: str) -> str:
    """The age band of an age in years."""
    if not text.isdigit():
        return "unknown"
    young, old = AGES
    return f"under {young}" if int(text) < young else f"{young} to {old - 1}" if int(text) < old else f"{old} and over"


def _no_majority(name: str, path: str, label: str) -> Quarantined:
    return set_aside(
        Cremad.name,
        name,
        code=Code.CLIP_WITHOUT_LABEL,
        message=f"{name}: the raters do not agree on an emotion ({label}), or the summary table lacks the clip",
        path=path,
        field=VOTE_COLUMNS[label],
        remedy="The clip itself is fine; `label: intended` uses it",
    )


def _clip(name: str, performance: _Performance, emotion: str, tables: _Tables) -> Clip:
    actor, sentence, _, level = performance.parts
    return Clip(
        clip_id=f"{Cremad.name}/{name}",
        dataset=Cremad.name,
        content_sha256=NOT_HASHED,
        subject_id=f"{Cremad.name}/{actor}",
        session_id=f"{Cremad.name}/{actor}",
        video_path=performance.video,
        audio_path=performance.audio,
        transcript=SENTENCES[sentence],
        text_id=f"{Cremad.name}/{sentence}",
        emotion=emotion,
        groups={"intensity": LEVELS[level], **tables.groups.get(actor, {})},
        licence=Cremad.licence,
        consent=Cremad.about.consent,
    )
