"""RAVDESS: the Ryerson Audio-Visual Database of Emotional Speech and Song (Livingstone & Russo 2018, CC BY-NC-SA 4.0).

24 professional actors speak and sing two sentences in eight emotions. Files lie in any folder below `root`, named
`MM-CC-EE-II-SS-RR-AA.{mp4,wav,flac}`:

    MM modality    01 picture and sound, 02 picture only, 03 sound only
    CC channel     01 speech, 02 song
    EE emotion     01 neutral 02 calm 03 happy 04 sad 05 angry 06 fearful 07 disgust 08 surprised
    II intensity   01 normal, 02 strong
    SS statement   01 "Kids are talking by the door", 02 "Dogs are sitting by the door"
    RR repetition  01, 02
    AA actor       01 … 24, odd male, even female

The corpus ships one performance up to three times (01, 02 and 03). A performance is one clip here: the file with both
picture and sound if it exists, else the picture-only and the sound-only file together, else the only one. So no
performance is counted twice, unless `one_clip_per_performance: false` selects every file.

`face_au` adds the modality `face_au` to each clip: one vector of facial action units (FACS, Ekman & Friesen 1978) per
performance, from an `.npz` with the entries `clip` (N,) file names and `face_au` (N, D). A row belongs to every version
of the performance in its name, whatever its first field.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.contracts.config import Section
from components.contracts.errors import DataError, MediaError
from components.contracts.records import Clip, GivenFeatures, Quarantined
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan, bad_name, corpus_folder, media_files, stored_path
from components.datasets.given import GivenReader

FACE_AU = "face_au"
SUFFIXES = (".mp4", ".wav", ".flac")
NAME = re.compile(r"(\d{2})-(\d{2})-(\d{2})-(\d{2})-(\d{2})-(\d{2})-(\d{2})")
PATTERN = "MM-CC-EE-II-SS-RR-AA, seven two-digit numbers"

MODALITIES = {"01": "audio-video", "02": "video", "03": "audio"}
CHANNELS = {"01": "speech", "02": "song"}
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
REPETITIONS = {"01": "1", "02": "2"}
ACTORS = {f"{number:02d}": "male" if number % 2 else "female" for number in range(1, 25)}
FIELDS = {
    "modality": MODALITIES,
    "channel": CHANNELS,
    "emotion": EMOTIONS,
    "intensity": INTENSITIES,
    "statement": STATEMENTS,
    "repetition": REPETITIONS,
    "actor": ACTORS,
}

# The five actor folds that published figures use (e.g. Luna-Jiménez et al. 2022, Sensors 22(1)).
FOLDS: tuple[frozenset[int], ...] = (
    frozenset({2, 5, 14, 15, 16}),
    frozenset({3, 6, 7, 13, 18}),
    frozenset({10, 11, 12, 19, 20}),
    frozenset({8, 17, 21, 23, 24}),
    frozenset({1, 4, 9, 22}),
)


class RavdessOptions(Section):
    """The section `ravdess:` of params.yaml."""

    root: str
    """The corpus's folder, absolute or relative to the project, or `s3://…`."""

    modalities: tuple[Literal["audio-video", "video", "audio"], ...] = Field(
        ("audio-video", "video", "audio"), min_length=1
    )
    """Which files count: those with picture and sound (01), picture alone (02), sound alone (03)."""

    channels: tuple[Literal["speech", "song"], ...] = Field(("speech",), min_length=1)
    """Whether spoken or sung performances count; published figures are on speech."""

    one_clip_per_performance: bool = True
    """Whether the up to three files of a performance are one clip; false takes every file as a clip, so that a
    performance counts up to three times."""

    face_au: str | None = None
    """An `.npz` file of facial action units (FACS, Ekman & Friesen 1978), which become the modality `face_au`:
    absolute or relative to the project. null does without."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One file and the fields of its name; `values` holds the codes by field."""

    path: Path
    values: dict[str, str]

    @property
    def performance(self) -> str:
        """The name from the channel on: equal for the three versions of one performance."""
        return self.path.stem[3:]


class Ravdess(Adapter[RavdessOptions]):
    """The RAVDESS adapter."""

    name = "ravdess"
    licence = "CC BY-NC-SA 4.0"
    about = About(
        title="RAVDESS, Ryerson Audio-Visual Database of Emotional Speech and Song",
        modalities=("face", "voice", "text"),
        access="open",
        how="`mer datasets download ravdess` takes speech from Zenodo (12 GB; 0.2 GB with --part speech-sound)",
        homepage="https://zenodo.org/records/1188976",
        paper="Livingstone & Russo 2018, PLOS ONE 13(5) e0196391, https://doi.org/10.1371/journal.pone.0196391",
        consent="recorded with written consent for research use",
        labels={"happy": "happiness", "sad": "sadness", "angry": "anger", "fearful": "fear", "surprised": "surprise"}
        | {name: name for name in ("neutral", "calm", "disgust")},
        splits="five folds by actor as published figures use them: group `fold`, `catalog: {folds: corpus}`",
    )
    Options = RavdessOptions
    files = ("face_au",)

    def scan(self, options: RavdessOptions, root: Path, seed: int) -> Scan:
        """Lists the performances of a RAVDESS folder; see `Adapter.scan`."""
        folder = corpus_folder(options.root, root, dataset=self.name)
        recordings: list[Recording] = []
        quarantined: list[Quarantined] = []
        for path in media_files(folder, SUFFIXES):
            outcome = parse(path, stored_path(path, folder, options.root))
            if isinstance(outcome, Recording):
                recordings.append(outcome)
            else:
                quarantined.append(outcome)
        selected = [recording for recording in recordings if _is_selected(recording, options)]
        notes = _left_out(recordings, selected)
        groups = [[recording] for recording in selected]
        if options.one_clip_per_performance:
            groups, merged = _performances(selected)
            notes += merged
        clips = [_clip(group, folder, options.root) for group in groups]
        if options.face_au is not None:
            clips, matched = _with_face_au(clips, options.face_au, root)
            notes += matched
        return Scan(clips=clips, quarantined=quarantined, notes=notes)


def parse(path: Path, stored: str) -> Recording | Quarantined:
    """The fields of a file's name, or a quarantine row with the wrong part of the name."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        what = "the file name is not a RAVDESS name"
        return bad_name(Ravdess.name, path, stored, what=what, field="name", seen=path.stem, allowed=PATTERN)
    values = dict(zip(FIELDS, match.groups(), strict=True))
    for field, code in values.items():
        if code not in FIELDS[field]:
            what, allowed = f"the {field} code {code} is unknown", ", ".join(FIELDS[field])
            return bad_name(Ravdess.name, path, stored, what=what, field=field, seen=code, allowed=allowed)
    return Recording(path=path, values=values)


def _is_selected(recording: Recording, options: RavdessOptions) -> bool:
    return (
        MODALITIES[recording.values["modality"]] in options.modalities
        and CHANNELS[recording.values["channel"]] in options.channels
    )


def _left_out(recordings: list[Recording], selected: list[Recording]) -> list[str]:
    selected_paths = {recording.path for recording in selected}
    counts = Counter(
        f"{MODALITIES[recording.values['modality']]} {CHANNELS[recording.values['channel']]}"
        for recording in recordings
        if recording.path not in selected_paths
    )
    return [f"{count} {kind} files left out by the options" for kind, count in sorted(counts.items())]


def _performances(recordings: list[Recording]) -> tuple[list[list[Recording]], list[str]]:
    """The files of each performance that are used, and notes on those that are not."""
    by_performance: dict[str, dict[str, list[Recording]]] = defaultdict(lambda: defaultdict(list))
    for recording in recordings:
        by_performance[recording.performance][recording.values["modality"]].append(recording)
    groups: list[list[Recording]] = []
    unused = joined = 0
    for _, versions in sorted(by_performance.items()):
        if "01" in versions:
            groups += [[recording] for recording in versions["01"]]
            unused += len(versions.get("02", [])) + len(versions.get("03", []))
        elif len(versions.get("02", [])) == 1 and len(versions.get("03", [])) == 1:
            groups.append([versions["02"][0], versions["03"][0]])
            joined += 1
        else:
            # More than one file of a kind has one clip id: the stage keeps the first and quarantines the others.
            groups += [[recording] for files in versions.values() for recording in files]
    notes = []
    if unused:
        notes.append(f"{unused} picture-only or sound-only files not used: the same performance exists with both")
    if joined:
        notes.append(f"{joined} performances joined from a picture-only and a sound-only file")
    return groups, notes


def _with_face_au(clips: list[Clip], file: str, root: Path) -> tuple[list[Clip], list[str]]:
    """The clips with their action units, and notes on clips without any and on rows without a clip."""
    path = Path(file).expanduser().as_posix()
    try:
        keys = GivenReader(root).keys(path, FACE_AU)
    except MediaError as error:
        raise DataError(
            error.what,
            where=f"{Ravdess.name}.{FACE_AU}",
            seen=file if error.seen is None else f"{file}: {error.seen}",
            allowed=f"an .npz with `clip` (N,) names and `{FACE_AU}` (N, D)",
            remedy=f"Set `{Ravdess.name}: {FACE_AU}:` in params.yaml; a relative path starts at {root}",
            code=error.code,
        ) from error
    by_performance: dict[str, str] = {}
    for key in keys:
        if NAME.fullmatch(key):
            by_performance.setdefault(key[3:], key)
    used: set[str] = set()
    joined: list[Clip] = []
    for clip in clips:
        name = clip.clip_id.rpartition("/")[2][3:]
        if name in by_performance:
            used.add(by_performance[name])
            row = GivenFeatures(modality=FACE_AU, path=path, key=by_performance[name])
            joined.append(replace(clip, given=(*clip.given, row)))
        else:
            joined.append(clip)
    without, unused = sum(not clip.given for clip in joined), len(keys) - len(used)
    notes = []
    if without:
        notes.append(f"{without} of {len(clips)} clips have no {FACE_AU}: the file does not contain them")
    if unused:
        notes.append(f"{unused} rows of {FACE_AU} do not belong to a used clip")
    return joined, notes


def _clip(group: list[Recording], folder: Path, given: str) -> Clip:
    """The clip of one performance: one file, or a picture-only file followed by its sound-only file."""
    first = group[0]
    values = first.values
    paths = {
        "audio" if recording.values["modality"] == "03" else "video": stored_path(recording.path, folder, given)
        for recording in group
    }
    actor = values["actor"]
    fold = next(index for index, actors in enumerate(FOLDS, start=1) if int(actor) in actors)
    return Clip(
        clip_id=f"{Ravdess.name}/{first.path.stem}",
        dataset=Ravdess.name,
        content_sha256=NOT_HASHED,
        subject_id=f"{Ravdess.name}/{actor}",
        session_id=f"{Ravdess.name}/{actor}/{CHANNELS[values['channel']]}",
        video_path=paths.get("video"),
        audio_path=paths.get("audio"),
        transcript=STATEMENTS[values["statement"]],
        text_id=f"{Ravdess.name}/{values['statement']}",
        emotion=EMOTIONS[values["emotion"]],
        groups={
            "gender": ACTORS[actor],
            "intensity": INTENSITIES[values["intensity"]],
            "channel": CHANNELS[values["channel"]],
            "fold": str(fold),
        },
        licence=Ravdess.licence,
        consent=Ravdess.about.consent,
    )
