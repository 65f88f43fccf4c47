"""CMU-MOSEI and CMU-MOSI: people who give their opinion in video blogs (Zadeh et al. 2018, ACL; 2016).

23,453 labelled sentences (MOSEI), 2,199 (MOSI), as the raw corpus unpacks. Below `root`, the corpus's folder `Raw`:

    Transcript/Segmented/Combined/<video>.txt    one line per sentence: video___index___start___end___text, in seconds
    Videos/Full/Combined/<video>.mp4             the whole recordings; a sentence is a span of one
    Audio/Full/WAV_16000/<video>.wav             their sound, for videos that are missing
    Labels/*.csv                                 one line per rater and sentence, with these columns:

        Input.VIDEO_ID, Input.CLIP               the video (after the last slash) and the sentence's index
        Answer.sentiment                         -3 to 3; empty counts as 0
        Answer.{anger,disgust,fear,happiness,sadness,surprise}    0 (no) to 3 (strongly); optional, absent in MOSI

Ratings of one sentence are averaged, as for the published labels. A table of single values (such as the published
labels) counts as one rater. The sentiment over 3 is the clip's valence. Emotions are multi-label; a clip here has one:
the one with the highest mean above zero, neutral where all are zero, and none where two tie (its valence stays).

`splits_file` is a CSV file with the columns `video` and `split` (train, valid, test): the standard folds are published
as lists in the corpus's SDK. The people are not identified, so a video counts as a person.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.errors import DataError
from components.contracts.records import Clip, Quarantined
from components.contracts.splits import CORPUS_SPLITS
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan, corpus_file, corpus_folder, set_aside, stored_path
from components.datasets.names import name_of
from components.datasets.table import LabelTable, read_labels

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
NEUTRAL = "neutral"
VIDEO, INDEX, SENTIMENT = "Input.VIDEO_ID", "Input.CLIP", "Answer.sentiment"
EMOTION_COLUMNS = {emotion: f"Answer.{emotion}" for emotion in EMOTIONS}
MOST_SENTIMENT, MOST_EMOTION = 3.0, 3.0
DELIMITER = "___"
TIE = 1e-4  # the published means are thirds, rounded to single precision

# A sentence: its video and its index there.
Key = tuple[str, int]


class MoseiOptions(Section):
    """The section `mosei:` of params.yaml."""

    root: str
    """The corpus's folder `Raw`, absolute or relative to the project, or `s3://…`."""

    splits_file: str | None = None
    """A CSV file with the columns `video` and `split` (train, valid, test), absolute or relative to the project; null
    where no standard splits are wanted."""


@dataclass(frozen=True, kw_only=True)
class TranscriptLine:
    """A line of a transcript: `[start_s, end_s)` of the video, and the words."""

    start_s: float
    end_s: float
    text: str


@dataclass(kw_only=True)
class Ratings:
    """The ratings of one sentence: one sentiment per rater, and for each rated emotion one intensity per rater."""

    sentiments: list[float] = field(default_factory=list)
    intensities: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def valence(self) -> float:
        """The mean sentiment, from -1 to 1."""
        return sum(self.sentiments) / len(self.sentiments) / MOST_SENTIMENT

    @property
    def emotion(self) -> str | None:
        """The emotion with the highest mean; for ties and zeros see the module."""
        if not self.intensities:
            return None
        means = {emotion: math.fsum(values) / len(values) for emotion, values in self.intensities.items()}
        most = max(means.values())
        highest = [emotion for emotion, mean in means.items() if most - mean < TIE]
        return NEUTRAL if most == 0 else highest[0] if len(highest) == 1 else None


class Mosei(Adapter[MoseiOptions]):
    """The CMU-MOSEI and CMU-MOSI adapter."""

    name = "mosei"
    licence = "research use (CMU MultiComp Lab); the videos belong to their uploaders"
    about = About(
        title="CMU-MOSEI (and CMU-MOSI), sentiment and emotion in video blogs",
        modalities=("face", "voice", "text"),
        access="apply",
        how="Follow the corpus's page: features and labels come with its SDK, the raw videos from the laboratory, for "
        "research and under the uploaders' terms",
        homepage="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
        paper="Bagher Zadeh et al. 2018, ACL, https://doi.org/10.18653/v1/P18-1208; MOSI: Zadeh et al. 2016",
        consent="published by the people themselves; they were not asked about this use",
        labels={column: emotion for emotion, column in EMOTION_COLUMNS.items()},
        splits="the SDK's standard folds by video, as `splits_file`, with `catalog: {use_corpus_splits: true}`",
    )
    Options = MoseiOptions
    reads = ("Transcript/Segmented/Combined/*.txt", "Labels/*.csv")

    def scan(self, options: MoseiOptions, root: Path, seed: int) -> Scan:
        """Lists the labelled sentences; see `Adapter.scan`.

        Raises:
            DataError: also when there are no transcripts or no label table, or the list of splits cannot be read.
        """
        folder = corpus_folder(options.root, root, dataset=self.name)
        quarantined: list[Quarantined] = []
        sentences = _sentences(folder, options, quarantined)
        notes: list[str] = []
        ratings = _ratings(folder, options, quarantined, notes)
        split_of = _splits(options, root, quarantined)
        clips: list[Clip] = []
        for key, sentence_ratings in sorted(ratings.items()):
            if key in sentences:
                clip = _clip(key, sentences[key], sentence_ratings, folder, options)
                clips.append(replace(clip, split=split_of.get(key[0])))
            else:
                quarantined.append(_without_sentence(key))
        unlabelled = len(sentences.keys() - ratings.keys())
        if unlabelled:
            notes.append(f"{unlabelled} sentences have no ratings: they are not used")
        undecided = sum(clip.emotion is None for clip in clips)
        if undecided:
            notes.append(f"{undecided} clips have no emotion, since two are rated highest or none was rated")
        without_split = len({key[0] for key in ratings} - split_of.keys()) if split_of else 0
        if without_split:
            notes.append(f"{without_split} videos are in no split of {options.splits_file}")
        return Scan(clips=clips, quarantined=quarantined, notes=notes)


def _sentences(folder: Path, options: MoseiOptions, quarantined: list[Quarantined]) -> dict[Key, TranscriptLine]:
    """The sentences of every transcript; malformed lines go to quarantine."""
    place = folder / "Transcript" / "Segmented" / "Combined"
    files = sorted(path for path in place.glob("*.txt") if not path.name.startswith("._"))
    if not files:
        raise _missing("there are no transcripts", place, "<video>.txt")
    sentences: dict[Key, TranscriptLine] = {}
    for path in files:
        stored = stored_path(path, folder, options.root)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if not line.strip():
                continue
            outcome = parse_sentence(line)
            if isinstance(outcome, str) or outcome[0] in sentences:
                what = outcome if isinstance(outcome, str) else "the index occurs twice; the first line is used"
                quarantined.append(
                    set_aside(
                        Mosei.name,
                        f"{path.stem} line {number}",
                        code=Code.BAD_LABEL if isinstance(outcome, str) else Code.DUPLICATE_LABEL,
                        message=f"{path.name} line {number}: {what}",
                        path=stored,
                        seen=line[:80],
                        allowed=DELIMITER.join(("video", "index", "start", "end", "text")),
                        remedy="Correct the line, or remove it from the transcript",
                    )
                )
            else:
                sentences[outcome[0]] = outcome[1]
    return sentences


def parse_sentence(line: str) -> tuple[Key, TranscriptLine] | str:
    """The sentence of a transcript's line, or the line's defect. A start slightly below zero is taken as zero."""
    parts = line.strip().split(DELIMITER, 4)
    if len(parts) != 5:
        return "this is not a sentence"
    try:
        index, start_s, end_s = int(parts[1]), max(float(parts[2]), 0.0), float(parts[3])
    except ValueError:
        return "index, start or end is not a number"
    if not start_s < end_s < math.inf:
        return "the sentence has no length"
    return (name_of(parts[0]), index), TranscriptLine(start_s=start_s, end_s=end_s, text=parts[4].strip())


def _label_tables(place: Path, notes: list[str]) -> Iterator[tuple[Path, LabelTable]]:
    """Every readable table of ratings; an unreadable one is a note, and an error if no table can be read."""
    refused: DataError | None = None
    read = 0
    for table in sorted(path for path in place.glob("*.csv") if not path.name.startswith("._")):
        try:
            labels = read_labels(table, key=VIDEO, columns=(INDEX, SENTIMENT), dataset=Mosei.name)
        except DataError as error:
            refused = error
            notes.append(f"{table.name} is not a table of ratings ({error.what}): it is not used")
            continue
        read += 1
        yield table, labels
    if not read:
        raise refused or _missing("there is no label table", place, f"a CSV file with {VIDEO}, {INDEX}, {SENTIMENT}")


def _ratings(
    folder: Path, options: MoseiOptions, quarantined: list[Quarantined], notes: list[str]
) -> dict[Key, Ratings]:
    """The ratings of every sentence, over all tables."""
    ratings: dict[Key, Ratings] = {}
    for table, labels in _label_tables(folder / "Labels", notes):
        quarantined += labels.quarantined
        rated = [emotion for emotion, column in EMOTION_COLUMNS.items() if column in labels.columns]
        columns = {SENTIMENT: MOST_SENTIMENT, **{EMOTION_COLUMNS[emotion]: MOST_EMOTION for emotion in rated}}
        for row in labels.rows:
            if not any(row[column] for column in columns):
                continue  # a rater without an answer
            column = _wrong_rating(row, columns)
            if column is not None:
                quarantined.append(
                    set_aside(
                        Mosei.name,
                        f"{table.stem} line {row.line}",
                        code=Code.BAD_LABEL,
                        message=f"{table.name} line {row.line}: {column} is not a rating",
                        path=stored_path(table, folder, options.root),
                        field=column,
                        seen=row[column],
                        allowed=f"a number, at most {columns.get(column, math.inf):g} either way",
                        remedy="Correct the line, or remove it from the table",
                    )
                )
                continue
            key = (name_of(row[VIDEO].rsplit("/", maxsplit=1)[-1]), int(float(row[INDEX])))
            sentence = ratings.setdefault(key, Ratings())
            sentence.sentiments.append(float(row[SENTIMENT] or 0))
            for emotion in rated:
                sentence.intensities[emotion].append(float(row[EMOTION_COLUMNS[emotion]] or 0))
    return ratings


def _wrong_rating(row: Mapping[str, str], columns: Mapping[str, float]) -> str | None:
    """The first column whose value is not a number in its range."""
    for column, most in {INDEX: math.inf, **columns}.items():
        try:
            number = float(row[column] or ("nan" if column == INDEX else 0))
        except ValueError:
            return column
        least = -most if column == SENTIMENT else 0.0
        if not (least <= number <= most and math.isfinite(number)):
            return column
    return None


def _splits(options: MoseiOptions, root: Path, quarantined: list[Quarantined]) -> dict[str, str]:
    if options.splits_file is None:
        return {}
    labels = read_labels(corpus_file(options.splits_file, root), key="video", columns=("split",), dataset=Mosei.name)
    quarantined += labels.quarantined
    for row in labels.rows:
        if row["split"] not in CORPUS_SPLITS:
            raise DataError.unknown("split", row["split"], CORPUS_SPLITS, where=options.splits_file)
    return {name_of(row["video"]): row["split"] for row in labels.rows}


def _clip(key: Key, sentence: TranscriptLine, ratings: Ratings, folder: Path, options: MoseiOptions) -> Clip:
    video, index = key
    pictures = folder / "Videos" / "Full" / "Combined" / f"{video}.mp4"
    sound = folder / "Audio" / "Full" / "WAV_16000" / f"{video}.wav"
    sound_only = sound.exists() and not (pictures.exists() or pictures.is_symlink())
    return Clip(
        clip_id=f"{Mosei.name}/{video}_{index}",
        dataset=Mosei.name,
        content_sha256=NOT_HASHED,
        subject_id=f"{Mosei.name}/{video}",
        session_id=f"{Mosei.name}/{video}",
        video_path=None if sound_only else stored_path(pictures, folder, options.root),
        audio_path=stored_path(sound, folder, options.root) if sound_only else None,
        start_s=sentence.start_s,
        end_s=sentence.end_s,
        transcript=sentence.text or None,
        emotion=ratings.emotion,
        valence=ratings.valence,
        licence=Mosei.licence,
        consent=Mosei.about.consent,
    )


def _without_sentence(key: Key) -> Quarantined:
    video, index = key
    return set_aside(
        Mosei.name,
        f"{video}_{index}",
        code=Code.LABEL_WITHOUT_CLIP,
        message=f"sentence {index} of {video} is rated, but no transcript contains it: its time is unknown",
        remedy="Add the transcript, or remove the ratings",
    )


def _missing(what: str, place: Path, allowed: str) -> DataError:
    return DataError(
        what,
        where=f"{Mosei.name}.root",
        seen=str(place),
        allowed=allowed,
        remedy="Set root to the corpus's folder Raw",
        code=Code.NO_LABELS,
    )
