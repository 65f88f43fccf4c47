"""A dry run of the `datasets` stage: which clips it would use, which not and why, without writing anything.

It scans and probes as the stage does. Only files of equal size are hashed: of two with equal bytes one is likely to be
a copy. Durations are read from the files' headers; the exact ones are known only after decoding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.contracts.config import Section
from components.contracts.errors import MediaError
from components.contracts.fingerprint import file_sha256
from components.contracts.labels import ABAW8, Taxonomy
from components.contracts.records import Clip, Quarantined
from components.datasets import remote
from components.datasets.base import STAGE, Adapter, Scan, corpus_folder
from components.datasets.given_check import check_given
from components.datasets.names import scan_of
from components.datasets.stage import portable, unique, unusable, with_known_labels
from components.datasets.unused import UnusedFiles, unused_files
from components.datasets.withdrawn import Withdrawal, leave_out
from components.media.numbered import numbered_pictures
from components.media.reader import Header, MediaReader
from components.media.tracks import Choice, check_choices
from components.runtime.progress import progress

THREADS = 4
NONE = "unlabelled"


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Duration and modalities according to the headers of a clip's files; `duration_s` is None if no header has it."""

    duration_s: float | None
    modalities: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The content of a corpus.

    Attributes:
        clips: the clips that would be used.
        quarantined: the rows that would be set aside, and why.
        withdrawn: number of clips left out because a person in them withdrew.
        copies: pairs of (file, earlier file with the same bytes).
        looked: clip id → facts from the headers of its files.
        notes: the adapter's notes.
        unused: suffix, or name of a kind of litter → the files that nothing uses.
    """

    clips: list[Clip]
    quarantined: list[Quarantined]
    withdrawn: int
    copies: list[tuple[str, str]]
    looked: Mapping[str, Looked]
    notes: list[str]
    unused: Mapping[str, UnusedFiles] = field(default_factory=dict)

    def as_json(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """All figures, as JSON values."""
        reasons: dict[str, list[Quarantined]] = defaultdict(list)
        for row in self.quarantined:
            reasons[row.code].append(row)
        durations_s = [clip.duration_s for clip in self.looked.values() if clip.duration_s is not None]
        modalities = Counter(name for clip in self.looked.values() for name in clip.modalities)
        return {
            "used": len(self.clips),
            "skipped": len(self.quarantined),
            "reasons": {
                code: {
                    "clips": len(rows),
                    "example": rows[0].path or rows[0].clip_id,
                    "message": rows[0].message,
                    "remedy": rows[0].remedy,
                }
                for code, rows in sorted(reasons.items())
            },
            "withdrawn": self.withdrawn,
            "copies": [list(pair) for pair in self.copies],
            "subjects": len({clip.subject_id for clip in self.clips}),
            "duration_s": round(sum(durations_s), 3),
            "duration_unknown": len(self.looked) - len(durations_s),
            "emotions": self._emotions(taxonomy),
            "modalities": dict(sorted(modalities.items())),
            "splits": dict(sorted(Counter(clip.split or "none" for clip in self.clips).items())),
            "notes": self.notes,
            "unused": {kind: asdict(files) for kind, files in self.unused.items()},
        }

    def _emotions(self, taxonomy: Taxonomy) -> dict[str, dict[str, Any]]:
        """Emotion → its class, the number of clips that have it (as a whole or in part), and of people in them."""
        clips_of: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.clips:
            emotions = {clip.emotion, *(segment.emotion for segment in clip.segments)} - {None}
            for name in emotions or {None}:
                clips_of[name or NONE].append(clip)
        return {
            name: {
                "class": None if name == NONE else taxonomy.class_of(name),
                "clips": len(clips),
                "subjects": len({clip.subject_id for clip in clips}),
            }
            for name, clips in sorted(clips_of.items())
        }


def check(
    adapter: Adapter[Any],
    options: Section,
    *,
    root: Path,
    scratch: Path,
    seed: int,
    withdrawn: Collection[Withdrawal],
    taxonomy: Taxonomy = ABAW8,
) -> Findings:
    """Examines a corpus.

    Args:
        adapter: the corpus's adapter.
        options: the dataset's section.
        root: the project; relative paths in the options start there.
        scratch: an empty folder that stands in for the project where adapters write (rendered or converted media).
        seed: the project's seed.
        withdrawn: the people to leave out.
        taxonomy: which names of emotions are known beside the canonical ones.

    Raises:
        DataError: the corpus as a whole cannot be read.
    """
    for place in adapter.places(options):
        if remote.is_mirror(place):
            remote.sync(place, root)  # into the project's own mirror, so that the stage need not fetch it again
    if isinstance(folder := getattr(options, "root", None), str):
        corpus_folder(folder, root, dataset=adapter.name)  # here, so that its message names the project, not `scratch`
    absolute = settled(adapter, options, root)
    scanned = scan_of(adapter, absolute, scratch, seed)
    scan, left_out = leave_out(scanned, withdrawn)
    unrepeated, repeated = unique(scan.clips)
    clips, unknown = with_known_labels(unrepeated, taxonomy)
    readable = check_given(clips, scratch)
    good, refused, reader = [], [], MediaReader(THREADS)
    with ThreadPoolExecutor(THREADS) as pool, progress("check: files", len(readable.clips)) as advance:
        for clip, outcome in zip(
            readable.clips, pool.map(lambda clip: _look(clip, scratch, reader), readable.clips), strict=True
        ):
            if isinstance(outcome, Quarantined):
                refused.append(outcome)
            else:
                good.append((clip, outcome))
            advance(1)
    usable = [clip for clip, _ in good]
    rows = [*scan.quarantined, *repeated, *unknown, *readable.quarantined, *refused]
    return Findings(
        clips=usable,
        quarantined=[_shown(row, root) for row in rows],
        withdrawn=len(left_out),
        copies=[(_short(copy, root), _short(original, root)) for copy, original in _copies(usable, scratch)],
        looked={clip.clip_id: headers for clip, headers in good},
        notes=scan.notes,
        unused=_unused(adapter, absolute, scanned, root),
    )


def _unused(adapter: Adapter[Any], options: Any, scan: Scan, root: Path) -> dict[str, UnusedFiles]:
    """The files of the corpus folders that are neither part of a clip, nor named by a quarantine row, nor read."""
    named = [path for clip in scan.clips for path in (*clip.media_paths, *(given.path for given in clip.given))]
    named += scan.read
    named += [row.path for row in scan.quarantined if row.path is not None]
    named += [str(value) for key, value in options.model_dump().items() if adapter.is_place(key) and value]
    pictures = {clip.pictures_path for clip in scan.clips if clip.pictures_path is not None}
    found = unused_files(
        [place for place in adapter.places(options) if place.is_dir()],
        map(Path, named),
        adapter.reads,
        map(Path, pictures),
    )
    return {kind: replace(files, example=_short(files.example, root)) for kind, files in found.items()}


def settled(adapter: Adapter[Any], options: Section, root: Path) -> Any:
    """The options with every path absolute, so that none depends on the root that the scan is called with."""
    paths = {key: value for key, value in options.model_dump().items() if adapter.is_place(key) and value}
    return options.model_copy(update={key: str(root / Path(value).expanduser()) for key, value in paths.items()})


def look(clip: Clip, root: Path, reader: MediaReader) -> Looked:
    """Reads the headers of a clip's files. Raises MediaError (`no-track`): a chosen track is not there."""
    check_choices(clip)
    ends_s: list[float | None] = []
    streams = {"picture": clip.pictures_path is not None, "sound": False}
    for path in (clip.video_path, clip.audio_path):
        if path is not None:
            header = reader.header(root / path)
            ends_s.append(header.duration_s)
            _check_tracks(clip, path, header)
            streams["picture"] |= bool(header.picture_tracks) and path == clip.video_path
            streams["sound"] |= bool(header.sound_tracks)
    if clip.physio_path is not None:
        ends_s.append(_table_seconds(root / clip.physio_path))
    if clip.pictures_path is not None and clip.pictures_rate_hz:
        ends_s.append(max(numbered_pictures(root / clip.pictures_path)) / clip.pictures_rate_hz)
    if not any(ends_s):
        ends_s += [features.end_s for features in clip.given]
        ends_s += [word.end_s for word in clip.words] + [segment.end_s for segment in clip.segments]
    end_s = clip.end_s if clip.end_s is not None else max((end_s for end_s in ends_s if end_s), default=None)
    recorded = [name for name, has in streams.items() if has]
    recorded += ["words"] * bool(clip.transcript or clip.words) + ["physio"] * (clip.physio_path is not None)
    given = sorted({features.modality for features in clip.given})
    return Looked(duration_s=None if end_s is None else end_s - clip.start_s, modalities=(*recorded, *given))


def _check_tracks(clip: Clip, path: str, header: Header) -> None:
    """Raises MediaError as alignment does where a file has none of the chosen number; not of a file that cannot be
    opened, which alignment sets aside for that."""
    if not header.picture_tracks and not header.sound_tracks:
        return
    if path == clip.video_path:
        Choice(number=clip.video_track).of(header.picture_tracks, "picture", clip.clip_id)
    if path == (clip.audio_path or clip.video_path):
        Choice(number=clip.audio_track).of(header.sound_tracks, "sound", clip.clip_id)


def _table_seconds(path: Path) -> float | None:
    """The largest `time_s` of a Parquet file, from its footer."""
    try:
        meta = pq.read_metadata(path)
        column = meta.schema.names.index("time_s")
        groups = (meta.row_group(index).column(column).statistics for index in range(meta.num_row_groups))
        return max((float(group.max) for group in groups if group is not None and group.has_min_max), default=None)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _look(clip: Clip, root: Path, reader: MediaReader) -> Quarantined | Looked:
    refusal = unusable(clip, root)
    if refusal is not None:
        return refusal
    try:
        return look(clip, root, reader)
    except MediaError as error:
        path = clip.video_path or clip.audio_path
        return Quarantined.from_error(error, dataset=clip.dataset, clip_id=clip.clip_id, stage=STAGE, path=path)


def _copies(clips: Iterable[Clip], root: Path) -> list[tuple[str, str]]:
    """Pairs of (file, earlier file with the same bytes) among the files of clips. A file that several clips share
    counts once."""
    by_size: dict[int, list[str]] = defaultdict(list)
    named = (path for clip in clips for path in (clip.video_path, clip.audio_path, clip.physio_path) if path)
    for path in dict.fromkeys(named):
        by_size[(root / path).stat().st_size].append(path)
    copies = []
    for paths in by_size.values():
        first: dict[str, str] = {}
        for path in paths if len(paths) > 1 else ():
            digest = file_sha256(root / path)
            if digest in first:
                copies.append((path, first[digest]))
            first.setdefault(digest, path)
    return copies


def _shown(row: Quarantined, root: Path) -> Quarantined:
    """The row with paths below the project relative to it, and with the remedy in its own field only."""
    row = portable(row, root)
    return replace(row, message=row.message.replace(f"{root}/", "").removesuffix(f". {row.remedy}"))


def _short(path: str, root: Path) -> str:
    """A path below the project as relative to it."""
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path
