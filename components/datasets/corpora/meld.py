"""MELD: the Multimodal EmotionLines Dataset (Poria et al., ACL 2019; GPL-3.0 repository, scenes of a TV series).

Utterances of dialogues between several speakers, in seven emotions: 9,989 to train, 1,109 to develop, 2,610 to test.
Below `root`, as the corpus unpacks:

    {train,dev,test}_sent_emo.csv         Utterance, Speaker, Emotion, Dialogue_ID, Utterance_ID, StartTime, EndTime, …
    train_splits/dia{D}_utt{U}.mp4        one file per utterance; ids repeat in the three splits
    dev_splits_complete/…
    output_repeated_splits_test/…

Speakers recur across the corpus's own splits: with `catalog.use_corpus_splits` published figures can be compared, and
the catalog lists who is on both sides; without it, people are dealt to splits as everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.errors import DataError
from components.contracts.records import Clip, Quarantined, Word
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan, corpus_folder, set_aside, stored_path
from components.datasets.names import name_of
from components.datasets.table import read_labels

# The corpus's name of a split → the folder of its recordings.
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
EMOTIONS = {
    "neutral": "neutral",
    "surprise": "surprise",
    "fear": "fear",
    "sadness": "sadness",
    "joy": "happiness",
    "disgust": "disgust",
    "anger": "anger",
}
# Recordings that do not show their utterance, or cannot be decoded, in every copy of the corpus.
BROKEN = frozenset({"train/dia125_utt3", "train/dia309_utt0", "test/dia220_utt0", "test/dia38_utt4"})
# The shortest utterance that fills a step on the usual grid of ten steps per second.
MIN_TEXT_S = 0.1
WITHOUT_RECORDINGS = "set `meld: text_only: true` to train on its words alone"


class MeldOptions(Section):
    """The section `meld:` of params.yaml."""

    root: str
    """The corpus's folder, absolute or relative to the project, or `s3://…`."""

    text_only: bool = False
    """Whether to do without recordings: a clip is its words then, laid evenly over the utterance's time."""


class Meld(Adapter[MeldOptions]):
    """The MELD adapter."""

    name = "meld"
    licence = "GPL-3.0 (annotations); the scenes belong to their broadcaster"
    about = About(
        title="MELD, Multimodal EmotionLines Dataset",
        modalities=("face", "voice", "text"),
        access="open",
        how="`mer datasets download meld` takes tables and recordings from its official hosts (about 11 GB)",
        homepage="https://affective-meld.github.io",
        paper="Poria et al. 2019, ACL, https://doi.org/10.18653/v1/P19-1050",
        consent="actors in a published series; check your own right to use the scenes",
        labels=EMOTIONS,
        splits="train, dev and test, with speakers on more than one side: `catalog: {use_corpus_splits: true}`",
        known_bad=dict.fromkeys(sorted(BROKEN), "does not show its utterance, or cannot be decoded"),
    )
    Options = MeldOptions
    reads = tuple(f"{split}_sent_emo.csv" for split in FOLDERS)

    def scan(self, options: MeldOptions, root: Path, seed: int) -> Scan:
        """Lists the utterances of the three tables; see `Adapter.scan`. A table that is missing is a note, and so is a
        split's folder of recordings.

        Raises:
            DataError: also when all three tables are missing, or all recordings without `text_only`.
        """
        folder = corpus_folder(options.root, root, dataset=self.name)
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        notes: list[str] = []
        without: list[str] = []
        for split, recordings in FOLDERS.items():
            table = folder / f"{split}_sent_emo.csv"
            if not table.is_file():
                notes.append(f"{table.name} is missing: its utterances are not used")
                continue
            labels = read_labels(table, key="Sr No.", columns=COLUMNS, dataset=self.name)
            quarantined += labels.quarantined
            if not options.text_only and not (folder / recordings).is_dir():
                without.append(f"{recordings} is missing: {len(labels.rows)} utterances have no recording")
                continue
            for row in labels.rows:
                outcome = _clip(row, split, folder, options, line=f"{table.name} line {row.line}")
                (clips if isinstance(outcome, Clip) else quarantined).append(outcome)  # type: ignore[arg-type]
        if len(notes) == len(FOLDERS):
            raise DataError(
                "all label tables are missing",
                where=f"{self.name}.root",
                seen=str(folder),
                allowed=", ".join(f"{split}_sent_emo.csv" for split in FOLDERS),
                code=Code.NO_LABELS,
            )
        if len(notes) + len(without) == len(FOLDERS):
            raise DataError(
                "there are no recordings",
                where=f"{self.name}.root",
                seen="; ".join(without),
                allowed=", ".join(FOLDERS.values()),
                remedy=f"Unpack them there, or {WITHOUT_RECORDINGS}",
                code=Code.NO_MEDIA,
            )
        notes += [f"{note} and are not used; {WITHOUT_RECORDINGS}" for note in without]
        return Scan(clips=clips, quarantined=quarantined, notes=notes)


def _clip(row: Mapping[str, str], split: str, folder: Path, options: MeldOptions, *, line: str) -> Clip | Quarantined:
    name = f"{split}/dia{name_of(row['Dialogue_ID'])}_utt{name_of(row['Utterance_ID'])}"
    duration_s = _duration_s(row)
    defect = _defect(row, name, duration_s, options)
    if defect is not None:
        return set_aside(
            Meld.name,
            name,
            code=defect.code,
            message=f"{line}: {defect.what}",
            path=stored_path(folder / f"{split}_sent_emo.csv", folder, options.root),
            field=defect.field,
            seen=defect.seen,
            allowed=defect.allowed,
            remedy=defect.remedy,
        )
    path = folder / FOLDERS[split] / f"{Path(name).name}.mp4"
    return Clip(
        clip_id=f"{Meld.name}/{name}",
        dataset=Meld.name,
        content_sha256=NOT_HASHED,
        subject_id=f"{Meld.name}/{row['Speaker']}",
        session_id=f"{Meld.name}/{split}/dia{name_of(row['Dialogue_ID'])}",
        video_path=None if options.text_only else stored_path(path, folder, options.root),
        transcript=row["Utterance"],
        words=spread(row["Utterance"], duration_s) if options.text_only and duration_s is not None else (),
        emotion=EMOTIONS[row["Emotion"].lower()],
        split=split,
        groups={"sentiment": row["Sentiment"]},
        licence=Meld.licence,
        consent=Meld.about.consent,
    )


@dataclass(frozen=True, kw_only=True)
class _Defect:
    """Why a row cannot be used; the fields of a quarantine row."""

    code: Code
    what: str
    field: str
    seen: str
    allowed: str
    remedy: str


def _defect(row: Mapping[str, str], name: str, duration_s: float | None, options: MeldOptions) -> _Defect | None:
    if row["Emotion"].lower() not in EMOTIONS:
        return _Defect(
            code=Code.UNKNOWN_EMOTION,
            what=f"unknown emotion {row['Emotion']!r}",
            field="Emotion",
            seen=row["Emotion"],
            allowed=", ".join(EMOTIONS),
            remedy="Correct the table",
        )
    if not options.text_only:
        return None if name not in BROKEN else _Defect(
            code=Code.KNOWN_BROKEN,
            what="this recording does not show its utterance, or cannot be decoded, in every copy of the corpus",
            field="Utterance_ID",
            seen=name,
            allowed="the recordings that show their utterance",
            remedy=f"It cannot be repaired; {WITHOUT_RECORDINGS}",
        )  # fmt: skip
    times = f"{row['StartTime']} to {row['EndTime']}"
    if duration_s is None or not row["Utterance"].strip():
        what = "the utterance has no words" if duration_s is not None else "StartTime or EndTime is not a time"
        seen, allowed = (times, "times such as 00:16:16,059") if duration_s is None else (row["Utterance"], "words")
        field = "EndTime" if duration_s is None else "Utterance"
        return _Defect(
            code=Code.BAD_LABEL, what=what, field=field, seen=seen, allowed=allowed, remedy="Correct the table"
        )
    if duration_s >= MIN_TEXT_S:
        return None
    return _Defect(
        code=Code.BAD_LABEL,
        what=f"the utterance lasts {duration_s:.2f} s by its times, too short to lay its words over",
        field="EndTime",
        seen=times,
        allowed=f"at least {MIN_TEXT_S:g} s",
        remedy="Correct its times, or leave it out: some of the corpus's times are wrong",
    )


def spread(text: str, duration_s: float) -> tuple[Word, ...]:
    """The words of a text over `[0, duration_s)`, each as long as its share of the letters."""
    words = text.split()
    letters = sum(len(word) for word in words)
    placed, at = [], 0
    for word in words:
        start_s, at = duration_s * at / letters, at + len(word)
        placed.append(Word(text=word, start_s=start_s, end_s=duration_s * at / letters))
    return tuple(placed)


def _duration_s(row: Mapping[str, str]) -> float | None:
    """EndTime − StartTime of times such as 00:16:16,059; None when one of them is not a time."""
    ends = []
    for column in ("StartTime", "EndTime"):
        try:
            hours, minutes, seconds = row[column].replace(",", ".").split(":")
            ends.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
        except ValueError:
            return None
    return ends[1] - ends[0]
