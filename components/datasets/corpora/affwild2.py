"""Aff-Wild2, expressions (Kollias & Zafeiriou; the EXPR challenge of ABAW): videos labelled frame by frame in the wild.

The corpus is shared for academic research after an agreement is signed, and must not be passed on. Below `root`:

    EXPR_Recognition_Challenge/Train_Set/<video>.txt       a header that names the classes, then one number per frame
    EXPR_Recognition_Challenge/Validation_Set/<video>.txt
    cropped_aligned/<video>/00001.jpg                      the aligned face of frame 1; crops may be missing
    …/<video>.mp4                                          the recordings, anywhere else

Line k of a label file labels frame k, which is crop k and the k-th timestamp of the recording: rates run from 14 to 60
per second, and none is assumed. Where two people share a recording their names end in `_left` and `_right`: each has
separate labels and crops, and the sound and the clock of the shared recording. A run of equal labels is a segment;
frames marked -1 have none. Splits go by recording, since the people are not identified.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.errors import DataError, MediaError
from components.contracts.records import Clip, Quarantined, Segment
from components.datasets.about import About
from components.datasets.base import (
    NOT_HASHED,
    SOUND,
    STAGE,
    VIDEO,
    Adapter,
    Scan,
    corpus_folder,
    files_below,
    set_aside,
    stored_path,
)
from components.media.clocks.frame_clock import FrameClock, frame_clock
from components.media.numbered import numbered_pictures
from components.media.reader import MediaReader
from components.runtime.progress import progress

# The folder's name changed from one year's challenge to the next.
LABELS = "EXPR_*_Challenge"
SETS = ("Train_Set", "Validation_Set")
EMOTIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
UNLABELLED = -1
SIDE = re.compile(r"(.+)_(left|right)")
# Decoders differ over the last frames of a file. Labels that go on for longer belong to a different recording.
SPARE_FRAMES = 5
SPARE_SHARE = 0.01
READERS = 4


class Affwild2Options(Section):
    """The section `affwild2:` of params.yaml."""

    root: str
    """The corpus's folder, absolute or relative to the project, or `s3://…`."""

    pictures: tuple[str, ...] = ("cropped_aligned",)
    """Folders of face crops below the corpus's; the first one that has a video counts."""

    frame_rate_hz: float | None = Field(None, gt=0, le=240)
    """Frames per second of recordings that are not there. With null their labels cannot be placed in time, and they
    are set aside."""

    validation_set: Literal["test", "validation"] = "test"
    """The split that the published validation set is. Published figures are of this set, since the labels of the
    corpus's test set are kept back: as `test` it chooses nothing, and calibration takes people from the training
    set."""


@dataclass(frozen=True, kw_only=True)
class VideoFiles:
    """The files of one name: the folder of crops, and the recording or (only without one) its sound."""

    name: str
    pictures: Path | None
    video: Path | None
    sound: Path | None

    @property
    def base(self) -> str:
        """The recording's own name, which two people may share."""
        return base_of(self.name)


def base_of(name: str) -> str:
    """A name without `_left` or `_right`."""
    side = SIDE.fullmatch(name)
    return side.group(1) if side else name


class CorpusFiles:
    """The files of the corpus, by name."""

    def __init__(self, options: Affwild2Options, root: Path) -> None:
        self.options = options
        self.folder = corpus_folder(options.root, root, dataset=Affwild2.name)
        self._reader = MediaReader(READERS)

    def find(self, name: str) -> VideoFiles:
        """The files of a name; a recording of exactly that name goes before the one that two people share."""
        folders = (self.folder / place / name for place in self.options.pictures)
        return VideoFiles(
            name=name,
            pictures=next((folder for folder in folders if folder.is_dir()), None),
            video=self._media.get((name, "video")) or self._media.get((base_of(name), "video")),
            sound=self._media.get((name, "sound")) or self._media.get((base_of(name), "sound")),
        )

    def pictures(self, recording: VideoFiles) -> dict[int, Path]:
        """Its crops by number. Raises MediaError: there are none."""
        if recording.pictures is None:
            raise _no_pictures(recording, self.options)
        return numbered_pictures(recording.pictures)

    def clock(self, recording: VideoFiles, frames: int) -> FrameClock:
        """The display times of its frames. Raises MediaError: the recording is missing or cannot be read."""
        if recording.video is not None:
            return frame_clock(recording.video, self._reader)
        if self.options.frame_rate_hz is not None:
            return FrameClock.regular(frames, self.options.frame_rate_hz)
        raise MediaError(
            "the recording is missing, so the times of its frames are unknown",
            where=recording.name,
            seen=f"no {recording.base}.mp4 below the corpus folder",
            allowed=" ".join(f"{recording.base}{suffix}" for suffix in VIDEO),
            remedy="Add the recording, or state `affwild2: frame_rate_hz:` if it is known",
            code=Code.MISSING_FILE,
        )

    def clip(self, recording: VideoFiles, *, segments: Sequence[Segment] = (), split: str | None = None) -> Clip:
        """The clip of a recording."""
        crops_only = recording.video is None
        return Clip(
            clip_id=f"{Affwild2.name}/{recording.name}",
            dataset=Affwild2.name,
            content_sha256=NOT_HASHED,
            subject_id=f"{Affwild2.name}/{recording.base}",
            session_id=f"{Affwild2.name}/{recording.base}",
            video_path=self._stored(recording.video),
            audio_path=self._stored(recording.sound) if crops_only else None,
            pictures_path=self._stored(recording.pictures),
            pictures_rate_hz=self.options.frame_rate_hz if crops_only else None,
            segments=tuple(segments),
            split=split,
            licence=Affwild2.licence,
            consent=Affwild2.about.consent,
        )

    def _stored(self, path: Path | None) -> str | None:
        return None if path is None else stored_path(path, self.folder, self.options.root)

    @cached_property
    def _media(self) -> dict[tuple[str, str], Path]:
        """(name, "video" or "sound") → file. Crops are not listed: there are millions."""
        files: dict[tuple[str, str], Path] = {}
        crops = [self.folder / place for place in self.options.pictures]
        for path in sorted(files_below(self.folder, skip=crops)):
            suffix = path.suffix.lower()
            if suffix in (*VIDEO, *SOUND):
                files.setdefault((path.stem, "video" if suffix in VIDEO else "sound"), path)
        return files


class Affwild2(Adapter[Affwild2Options]):
    """The Aff-Wild2 adapter."""

    name = "affwild2"
    licence = "Aff-Wild2 agreement: academic research only, no redistribution"
    about = About(
        title="Aff-Wild2, expressions (EXPR of the ABAW challenges)",
        modalities=("face", "voice"),
        access="apply",
        how="A member of the academic staff signs the agreement that the corpus's page links to, and sends it to the "
        "address given there; students apply through their supervisor. Links to videos, crops and labels come by mail",
        homepage="https://ibug.doc.ic.ac.uk/resources/aff-wild2/",
        paper="Kollias & Zafeiriou 2019, arXiv 1811.07770; the EXPR challenge of ABAW",
        consent="videos from a public platform; the corpus's agreement binds whoever uses them",
        labels={name.capitalize(): name for name in EMOTIONS},
        splits="Train_Set trains, Validation_Set tests as in the literature (test labels are kept back): "
        "`catalog: {use_corpus_splits: true}`",
    )
    Options = Affwild2Options
    reads = ("*_Set/*.txt",)

    def scan(self, options: Affwild2Options, root: Path, seed: int) -> Scan:
        """Lists the labelled recordings; see `Adapter.scan`.

        Raises:
            DataError: also when there is no folder of labels.
        """
        corpus = CorpusFiles(options, root)
        split_of = dict(zip(SETS, ("train", options.validation_set), strict=True))
        files = [(path, split_of[path.parent.name]) for path in _label_files(corpus.folder)]
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        counts: Counter[str] = Counter()
        with ThreadPoolExecutor(READERS) as pool, progress("affwild2: frame times", len(files)) as advance:
            for outcome, counted in pool.map(lambda labels: _clip(labels[0], labels[1], corpus), files):
                (clips if isinstance(outcome, Clip) else quarantined).append(outcome)  # type: ignore[arg-type]
                counts += counted
                advance(1)
        return Scan(clips=clips, quarantined=quarantined, notes=[f"{what}: {counts[what]}" for what in sorted(counts)])


def _label_files(folder: Path) -> list[Path]:
    """The label files, by set and name."""
    places = [place for pattern in (LABELS, f"*/{LABELS}") for place in sorted(folder.glob(pattern)) if place.is_dir()]
    files = [path for place in places[:1] for inside in SETS for path in sorted((place / inside).glob("[!.]*.txt"))]
    if not files:
        raise DataError(
            "there are no labels",
            where=f"{Affwild2.name}.root",
            seen=f"no {LABELS}/{{{','.join(SETS)}}}/*.txt in {folder}",
            remedy="Unpack the annotations of the expression challenge below the corpus folder",
            code=Code.NO_LABELS,
        )
    return files


def _clip(labels: Path, split: str, corpus: CorpusFiles) -> tuple[Clip | Quarantined, Counter[str]]:
    """The clip of a label file, or why it cannot be used; and the counts for the summary."""
    recording = corpus.find(labels.stem)
    stored = stored_path(labels, corpus.folder, corpus.options.root)
    counts: Counter[str] = Counter()
    try:
        emotions = read_frame_labels(labels)
        crops = corpus.pictures(recording)
        clock = corpus.clock(recording, max(len(emotions), *crops))
        extra = len(emotions) - clock.times_s.size
        if extra > max(SPARE_FRAMES, SPARE_SHARE * clock.times_s.size):
            raise _wrong_length(labels, len(emotions), clock.times_s.size)
    except DataError as error:
        return Quarantined.from_error(
            error, dataset=Affwild2.name, clip_id=f"{Affwild2.name}/{labels.stem}", stage=STAGE, path=stored
        ), counts
    segments = segments_of(emotions, clock)
    if not segments:
        message = f"{labels.name}: every frame is marked {UNLABELLED}"
        row = set_aside(Affwild2.name, labels.stem, code=Code.CLIP_WITHOUT_LABEL, message=message, path=stored)
        return row, counts
    labelled = {number for number, emotion in enumerate(emotions, start=1) if emotion is not None}
    counts["labelled frames"] = len(labelled)
    counts["labelled frames without a crop (their face is masked)"] = len(labelled - crops.keys())
    counts["labels beyond the last frame (left out)"] = max(extra, 0)
    counts["people who share a recording"] = int(recording.base != recording.name)
    counts["recordings that are missing (crops at the stated rate)"] = int(recording.video is None)
    return corpus.clip(recording, segments=segments, split=split), counts


def read_frame_labels(path: Path) -> list[str | None]:
    """The canonical emotion of frames 1 … N, None where a frame is marked -1.

    The header names the classes, and a number is an index into it: a header in a different order is followed.

    Raises:
        DataError: `bad-label`, with the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad_label(path, 1, type(error).__name__, "a text file in UTF-8") from error
    names = [name.strip().lower() for name in lines[0].split(",")]
    if sorted(names) != sorted(EMOTIONS):
        raise _bad_label(path, 1, lines[0].strip()[:80], "a header with " + ", ".join(EMOTIONS))
    while lines and not lines[-1].strip():
        lines.pop()
    labels: list[str | None] = []
    for number, line in enumerate(lines[1:], start=2):
        text = line.strip()
        if not re.fullmatch(r"-1|[0-7]", text):
            raise _bad_label(path, number, text[:80], f"{UNLABELLED}, or 0 to {len(EMOTIONS) - 1}")
        labels.append(None if int(text) == UNLABELLED else names[int(text)])
    return labels


def segments_of(emotions: Sequence[str | None], clock: FrameClock) -> list[Segment]:
    """Runs of equal labels on the clock, each up to the frame after its end; labels without a frame are left out."""
    ends_s = [*clock.times_s[1:].tolist(), clock.end_s]
    runs, at = [], 0
    for emotion, run in groupby(emotions[: clock.times_s.size]):
        first, at = at, at + len(list(run))
        if emotion is not None:
            runs.append(Segment(start_s=float(clock.times_s[first]), end_s=float(ends_s[at - 1]), emotion=emotion))
    return runs


def _bad_label(path: Path, line: int, seen: str, allowed: str) -> DataError:
    return DataError(
        "this is not a label file of the corpus",
        where=f"{path.name} line {line}",
        seen=seen,
        allowed=allowed,
        remedy="Unpack the annotations again",
        code=Code.BAD_LABEL,
    )


def _no_pictures(recording: VideoFiles, options: Affwild2Options) -> MediaError:
    return MediaError(
        "there are no cropped pictures of this name",
        where=recording.name,
        seen=f"no folder {recording.name} in {', '.join(options.pictures)}",
        allowed="a folder of crops, which shows whose face is labelled",
        remedy="Unpack the cropped and aligned pictures, or name their folder in `affwild2: pictures:`",
        code=Code.MISSING_FILE,
    )


def _wrong_length(path: Path, labels: int, frames: int) -> DataError:
    return DataError(
        "the labels continue after the end of the recording",
        where=path.name,
        seen=f"{labels} labels, {frames} frames",
        allowed=f"{SPARE_FRAMES} labels more, or {SPARE_SHARE:.0%}",
        remedy="The recording is cut off, or a different one: download it again",
        code=Code.FRAME_COUNT,
    )
