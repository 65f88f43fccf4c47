"""A folder of features in place of media: `clips.csv` has people and labels, one file per modality has the arrays.

    <root>/clips.csv          clip_id,subject_id,label[,split,start_s,end_s,sequence_id,…], see `feature_rows.py`
    <root>/<modality>.npz     one array (T, D) per clip, or .parquet; see `given.py`
    <root>/features.json      optional: licence, consent, rates, emotions

A modality's name is its file's, any `[a-z][a-z0-9_]*`. Samples lie at the modality's rate from the clip's start;
without a rate, evenly over `[start_s, end_s)`; a single sample holds throughout. Rows that share a `sequence_id` (the
utterances of one dialogue) are one clip: in the order of their times, or of the rows, each with its own label.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from components.contracts.codes import Code
from components.contracts.config import Section, section_error
from components.contracts.errors import ConfigError, DataError
from components.contracts.records import Clip, GivenFeatures, Quarantined, Segment, Word
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan, corpus_folder, set_aside, stored_path
from components.datasets.corpora.feature_rows import FeatureRow, emotion_of, read_rows
from components.datasets.given import SUFFIXES, GivenReader
from components.datasets.litter import litter
from components.datasets.names import name_of
from components.datasets.sequences import Sequenced, joint_subjects, sequenced

TABLE = "clips.csv"
ABOUT = "features.json"
MODALITY = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Terms(Section):
    """What `features.json` may state. The section of params.yaml may state the same, and goes before it."""

    licence: str = ""
    """The terms, written on every clip."""

    consent: str = ""
    """What the people in it agreed to, written on every clip."""

    rates: Mapping[str, float] = Field(default_factory=dict)
    """Modality → samples per second; a modality without a rate lies evenly over its clip."""

    emotions: Mapping[str, str] = Field(default_factory=dict)
    """A label in the table → canonical emotion, for labels that are not canonical themselves."""


class FeatureTableOptions(Terms):
    """The section `feature_table:` of params.yaml."""

    root: str
    """The folder of features, absolute or relative to the project, or `s3://…`."""

    utterance_s: float = Field(0.1, gt=0)
    """How long an utterance without times lasts, in seconds; the default is one step of the default grid."""


class FeatureTable(Adapter[FeatureTableOptions]):
    """The adapter of feature folders. For a second folder, subclass it with another `name`."""

    name = "feature_table"
    licence = "as its section or features.json says"
    about = About(
        title="Features in place of media",
        modalities=("any name",),
        how="Convert a public set of features with a short script, see docs/datasets.md",
        consent="as its section or features.json says",
        splits="the column `split`, with `catalog: {use_corpus_splits: true}`; else people are dealt to splits",
    )
    Options = FeatureTableOptions
    reads = (TABLE, ABOUT)

    def scan(self, options: FeatureTableOptions, root: Path, seed: int) -> Scan:
        """Joins the table with the feature files; see `Adapter.scan`.

        Raises:
            DataError: the table cannot be read or lacks a column, or there is no readable feature file.
            ConfigError: features.json is invalid, or a rate is given for a modality without a file.
        """
        folder = corpus_folder(options.root, root, dataset=self.name)
        terms = _terms(folder / ABOUT, options, self.name)
        rows, quarantined = read_rows(folder / TABLE, dataset=self.name, stored=f"{options.root}/{TABLE}")
        files, notes = _files(folder, options.root, self.name)
        for modality, rate_hz in terms.rates.items():
            if modality not in files:
                raise ConfigError.unknown("modality", modality, files, where=f"{self.name}.rates")
            if not rate_hz > 0:
                where = f"{self.name}.rates.{modality}"
                raise ConfigError("this is not a positive rate", where=where, seen=rate_hz, allowed="above 0 Hz")
        reader = GivenReader(root)
        keys = {modality: _by_name(reader.keys(path, modality)) for modality, path in files.items()}
        notes += _unmatched(rows, keys)
        by_sequence: dict[str, list[FeatureRow]] = defaultdict(list)
        for row in rows:
            if row.sequence:
                by_sequence[row.sequence].append(row)
        people = joint_subjects([[row.subject for row in group] for group in by_sequence.values()])
        outcomes: list[Clip | Quarantined] = [
            self._clip(row, terms, people, _given(row, files, keys, terms)) for row in rows if not row.sequence
        ]
        for name, group in by_sequence.items():
            sequence, refused = sequenced(name, group, options.utterance_s, dataset=self.name)
            quarantined += refused
            if sequence is not None:
                outcomes.append(self._sequence(sequence, terms, people, files, keys))
        notes += _joint_notes(by_sequence, people) + _unused_notes(by_sequence)
        clips = [outcome for outcome in outcomes if isinstance(outcome, Clip)]
        quarantined += [outcome for outcome in outcomes if isinstance(outcome, Quarantined)]
        return Scan(clips=clips, quarantined=quarantined, notes=notes, people=self._people(rows) if people else {})

    def _people(self, rows: Sequence[FeatureRow]) -> dict[str, tuple[str, ...]]:
        """Clip id → the people in it, in order of appearance."""
        names_of: dict[str, dict[str, None]] = defaultdict(dict)
        for row in rows:
            names_of[f"{self.name}/{row.sequence or row.clip_id}"][row.subject] = None
        return {clip_id: tuple(names) for clip_id, names in names_of.items()}

    def _clip(
        self, row: FeatureRow, terms: Terms, people: Mapping[str, str], given: tuple[GivenFeatures, ...]
    ) -> Clip | Quarantined:
        if not given:
            return _without(self.name, row.clip_id)
        subject = people.get(row.subject, row.subject)
        return Clip(
            clip_id=f"{self.name}/{row.clip_id}",
            dataset=self.name,
            content_sha256=NOT_HASHED,
            subject_id=f"{self.name}/{subject}",
            session_id=f"{self.name}/{row.session or row.subject}",
            given=given,
            transcript=row.transcript,
            emotion=emotion_of(row, terms.emotions),
            valence=row.valence,
            arousal=row.arousal,
            text_id=None if row.text_id is None else f"{self.name}/{row.text_id}",
            split=row.split,
            groups=row.groups,
            licence=terms.licence,
            consent=terms.consent,
        )

    def _sequence(
        self,
        sequence: Sequenced,
        terms: Terms,
        people: Mapping[str, str],
        files: Mapping[str, str],
        keys: Mapping[str, Mapping[str, str]],
    ) -> Clip | Quarantined:
        """The clip of a sequence, with a segment for each utterance that has a label, and a line of words for each that
        has a transcript."""
        given: list[GivenFeatures] = []
        segments: list[Segment] = []
        lines: list[Word] = []
        for utterance in sequence.utterances:
            start_s, end_s = utterance.start_s, utterance.end_s
            given += _given(utterance.row, files, keys, terms, start_s=start_s, end_s=end_s)
            emotion = emotion_of(utterance.row, terms.emotions)
            if emotion is not None:
                segments.append(Segment(start_s=start_s, end_s=end_s, emotion=emotion))
            if utterance.row.transcript:
                lines.append(Word(text=utterance.row.transcript, start_s=start_s, end_s=end_s))
        if not given:
            return _without(self.name, sequence.name)
        first = sequence.utterances[0].row
        subject = people.get(first.subject, first.subject)
        return Clip(
            clip_id=f"{self.name}/{sequence.name}",
            dataset=self.name,
            content_sha256=NOT_HASHED,
            subject_id=f"{self.name}/{subject}",
            session_id=f"{self.name}/{first.session or sequence.name}",
            given=tuple(given),
            words=tuple(lines),
            segments=tuple(segments),
            split=first.split,
            groups=sequence.groups,
            licence=terms.licence,
            consent=terms.consent,
        )


def _terms(path: Path, options: FeatureTableOptions, dataset: str) -> Terms:
    """features.json, overridden by the section. Raises ConfigError, and DataError: licence or consent is missing."""
    stored = Terms()
    if path.is_file():
        try:
            stored = Terms.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
        except ValidationError as error:
            raise section_error(error, Terms, where=f"{dataset}: {ABOUT}") from error
        except ValueError as error:
            raise ConfigError("this is not valid JSON", where=f"{dataset}: {ABOUT}", seen=str(error)) from error
    joined = Terms(
        licence=options.licence or stored.licence,
        consent=options.consent or stored.consent,
        rates={**stored.rates, **options.rates},
        emotions={**stored.emotions, **options.emotions},
    )
    for field in ("licence", "consent"):
        if not getattr(joined, field).strip():
            raise DataError(
                f"the {field} of these features is not stated",
                where=dataset,
                remedy=f"State it as `{field}` in {ABOUT}, or in the section `{dataset}:` of params.yaml",
                code=Code.NO_TERMS,
            )
    return joined


def _files(folder: Path, root: str, dataset: str) -> tuple[dict[str, str], list[str]]:
    """Modality → its file as clip rows name it, and notes on files whose name cannot be a modality's."""
    files: dict[str, str] = {}
    notes = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or litter(path.name):
            continue
        if not MODALITY.fullmatch(path.stem):
            notes.append(f"{path.name} is not used: a modality's name is lower-case letters, digits and _")
            continue
        if path.stem in files:
            raise DataError(
                "two files hold one modality",
                where=dataset,
                seen=f"{Path(files[path.stem]).name}, {path.name}",
                remedy="Remove one of them",
                code=Code.DUPLICATE_MODALITY,
            )
        files[path.stem] = stored_path(path, folder, root)
    if not files:
        raise DataError(
            "the folder contains no features",
            where=f"{dataset}.root",
            seen=str(folder),
            allowed="at least one <modality>.npz or <modality>.parquet",
            code=Code.NO_FEATURES,
        )
    return files, notes


def _given(
    row: FeatureRow,
    files: Mapping[str, str],
    keys: Mapping[str, Mapping[str, str]],
    terms: Terms,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> tuple[GivenFeatures, ...]:
    """The given features of a row; by default they start at 0 and last as long as the row's own times."""
    last_s = row.duration_s if end_s is None else end_s
    return tuple(
        GivenFeatures(
            modality=modality,
            path=path,
            key=keys[modality][row.clip_id],
            rate_hz=terms.rates.get(modality),
            start_s=start_s,
            end_s=last_s,
        )
        for modality, path in files.items()
        if row.clip_id in keys[modality]
    )


def _by_name(keys: Iterable[str]) -> dict[str, str]:
    """A clip's name → its array's key as the file spells it; of two keys with one name, the first."""
    spelled: dict[str, str] = {}
    for key in keys:
        spelled.setdefault(name_of(key), key)
    return spelled


def _without(dataset: str, name: str) -> Quarantined:
    return set_aside(
        dataset,
        name,
        code=Code.NO_FEATURES,
        message=f"{name}: no feature file has an array for it",
        remedy=f"Name the array as the column clip_id of {TABLE} does, or remove the row",
    )


def _unmatched(rows: Sequence[FeatureRow], keys: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Notes on rows without an array and arrays without a row."""
    names = dict.fromkeys(row.clip_id for row in rows)
    notes = []
    for modality, stored in keys.items():
        lacking = [name for name in names if name not in stored]
        if lacking:
            notes.append(f"{len(lacking)} of {len(names)} clips have no {modality}, the first {lacking[0]!r}")
        unused = [key for key in stored if key not in names]
        if unused:
            notes.append(f"{len(unused)} arrays of {modality} belong to no row of {TABLE}, the first {unused[0]!r}")
    return notes


def _unused_notes(by_sequence: Mapping[str, Sequence[FeatureRow]]) -> list[str]:
    fields = ("valence", "arousal", "text_id")
    rows = [row for group in by_sequence.values() for row in group]
    unused = [field for field in fields if any(getattr(row, field) is not None for row in rows)]
    return [f"{', '.join(unused)} of rows in sequences are not used"] if unused else []


def _joint_notes(by_sequence: Mapping[str, Sequence[FeatureRow]], people: Mapping[str, str]) -> list[str]:
    shared = sum(len({row.subject for row in group}) > 1 for group in by_sequence.values())
    if not shared:
        return []
    groups = {name for subject, name in people.items() if name != subject}
    return [
        f"{shared} sequences have several people: those who share one count as one person, {len(groups)} such in all, "
        "so that no one is in two splits"
    ]
