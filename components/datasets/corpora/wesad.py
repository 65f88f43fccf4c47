"""WESAD: wearable stress and affect detection (Schmidt et al., ICMI 2018; for scientific, non-commercial use).

Fifteen people (S2 to S17 without S12) wore a chest strap and a wristband through a baseline, a stress test, funny clips
and two meditations. Below `root`, as the corpus unpacks:

    SX/SX.pkl            the signals of both devices and one label per sample, see `wesad_pickle.py`
    SX/SX_readme.txt     facts about the person

Only the pickle is read, and it is never executed. Each stretch of a condition becomes clips of about `window_s` (whole
sessions last longer than a clip may, and the corpus's own study classifies windows of a minute). They are written once,
as `media/<name>.parquet` below the dataset's folder.

Clips are labelled with the emotion that their condition was meant to induce: baseline (neutral reading) is neutral,
stress is stress, amusement is amusement, and meditation, meant to calm people down again, is calm. The classes of a
taxonomy follow in `contracts/labels.py`: of the eight ABAW classes stress is `other`. The time between the conditions
and the questionnaires (labels 0 and 5 to 7) is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.config import Section
from components.contracts.errors import MediaError
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.contracts.records import Clip, Quarantined
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, STAGE, Adapter, Scan, bad_name, corpus_folder, stored_path
from components.datasets.content import HashCache, clips_cache, inputs_cache
from components.datasets.corpora.wesad_media import VERSION, channels_of, labels_of, pieces_of, table_of
from components.datasets.corpora.wesad_pickle import read_tree
from components.media.probe import check_file
from components.runtime.progress import progress

EMOTIONS = {"baseline": "neutral", "stress": "stress", "amusement": "amusement", "meditation": "calm"}
DEVICES = {"both": ("chest", "wrist"), "chest": ("chest",), "wrist": ("wrist",)}
INDEX = "index.json"
GENDER = re.compile(r"^Gender:\s*(\w+)", re.MULTILINE)

Condition = Literal["baseline", "stress", "amusement", "meditation"]


class WesadOptions(Section):
    """The section `wesad:` of params.yaml."""

    root: str
    """The corpus's folder, absolute or relative to the project, or `s3://…`."""

    device: Literal["both", "chest", "wrist"] = "both"
    """The device whose signals are read. With `both`, `eda`, `temp` and `acc_*` are the chest's, and the wrist's are
    called `wrist_…`."""

    window_s: float | None = Field(60.0, ge=5)
    """The length of a clip in seconds, about: a stretch of a condition is cut into equal clips (Schmidt et al. 2018
    classify windows of a minute). null makes a whole stretch one clip, up to twenty minutes."""

    conditions: tuple[Condition, ...] = ("baseline", "stress", "amusement", "meditation")
    """The conditions whose clips are used; the corpus's own study leaves meditation out."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """One clip's file: `file` in the media folder, of `size` bytes."""

    name: str
    condition: str
    file: str
    size: int


class Wesad(Adapter[WesadOptions]):
    """The WESAD adapter."""

    name = "wesad"
    licence = "WESAD: scientific, non-commercial use"
    about = About(
        title="WESAD, Wearable Stress and Affect Detection",
        modalities=("physio",),
        access="open",
        how="`mer datasets download wesad` takes the archive from the University of Siegen (about 2.5 GB)",
        homepage="https://ubicomp.eti.uni-siegen.de/home/datasets/icmi18/",
        paper="Schmidt et al. 2018, ICMI, https://doi.org/10.1145/3242969.3242985",
        consent="participants agreed in writing",
        labels=EMOTIONS,
        splits="one person is left out at a time: group `fold`, `catalog: {folds: corpus}`",
    )
    Options = WesadOptions
    reads = ("S*/S*.pkl", "S*/*_readme.txt")

    def scan(self, options: WesadOptions, root: Path, seed: int) -> Scan:
        """Lists the recordings and writes the signals of those that are new; see `Adapter.scan`."""
        folder = corpus_folder(options.root, root, dataset=self.name)
        media = Layout(root).dataset(self.name) / "media"
        layout = Layout(root)
        hashes = HashCache(clips_cache(layout, f"{self.name}-recordings"), known=inputs_cache(layout, self.name))
        stored_files, current_files = _index(media / INDEX), dict[str, list[Written]]()
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        recordings = sorted(folder.glob("S*/S*.pkl"))
        with progress("wesad: convert", len(recordings)) as advance:
            for path in recordings:
                subject, stored = path.stem, stored_path(path, folder, options.root)
                if subject != path.parent.name:
                    what = f"a recording of {subject} in the folder of {path.parent.name}"
                    quarantined.append(
                        bad_name(self.name, path, stored, what=what, field="name", seen=path.name, allowed="SX/SX.pkl")
                    )
                    continue
                try:
                    key, written = _written(path, options, media, stored_files, hashes)
                except MediaError as error:
                    clip_id = f"{self.name}/{subject}"
                    quarantined.append(
                        Quarantined.from_error(error, dataset=self.name, clip_id=clip_id, stage=STAGE, path=stored)
                    )
                else:
                    current_files[key] = written
                    groups = _groups(path.with_name(f"{subject}_readme.txt"), subject)
                    clips += [
                        _clip(subject, entry, (media / entry.file).relative_to(root), groups)
                        for entry in written
                        if entry.condition in options.conditions
                    ]
                advance(1)
        hashes.save()
        _keep(media, current_files)
        return Scan(clips=clips, quarantined=quarantined)


def _written(
    path: Path, options: WesadOptions, media: Path, stored_files: Mapping[str, list[Written]], hashes: HashCache
) -> tuple[str, list[Written]]:
    """The fingerprint of a recording's inputs, and the files of its clips, which are written if one is missing.

    Raises:
        MediaError: see `wesad_pickle.read_tree`, `wesad_media`.
    """
    check_file(path, where=path.name)
    made_from = [VERSION, hashes(path), options.device, options.window_s]
    key = fingerprint(made_from)
    stored = stored_files.get(key, [])
    files = [(media / entry.file, entry.size) for entry in stored]
    if files and all(file.is_file() and file.stat().st_size == size for file, size in files):
        return key, stored
    tree = read_tree(path)
    labels = labels_of(tree, path.stem, where=path.name)
    channels = channels_of(tree, DEVICES[options.device], labels.size, where=path.name)
    written = []
    for piece in pieces_of(labels, options.window_s):
        file = f"{fingerprint([*made_from, piece.first, piece.last])[:32]}.parquet"
        write_table(media / file, table_of(channels, piece))
        size = (media / file).stat().st_size
        written.append(Written(name=piece.name, condition=piece.condition, file=file, size=size))
    return key, written


def _clip(subject: str, written: Written, physio: Path, groups: Mapping[str, str]) -> Clip:
    person = f"{Wesad.name}/{subject}"
    return Clip(
        clip_id=f"{person}/{written.name}",
        dataset=Wesad.name,
        content_sha256=NOT_HASHED,
        subject_id=person,
        session_id=f"{person}/1",
        physio_path=physio.as_posix(),
        emotion=EMOTIONS[written.condition],
        groups={**groups, "condition": written.condition},
        licence=Wesad.licence,
        consent=Wesad.about.consent,
    )


def _groups(readme: Path, subject: str) -> dict[str, str]:
    """The fold (the corpus's study leaves one person out at a time) and, if the readme has it, the gender."""
    try:
        gender = GENDER.search(readme.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        gender = None
    return {"fold": subject, **({"gender": gender.group(1).lower()} if gender else {})}


def _index(path: Path) -> dict[str, list[Written]]:
    """The index of an earlier scan; a damaged one counts as empty."""
    try:
        return {key: [Written(**entry) for entry in entries] for key, entries in read_json(path).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(media: Path, files: Mapping[str, list[Written]]) -> None:
    """Writes the index and removes files that do not belong to a clip."""
    index: dict[str, Any] = {key: [asdict(entry) for entry in written] for key, written in files.items()}
    names = {entry.file for written in files.values() for entry in written}
    for stray in sorted(media.iterdir()) if media.is_dir() else ():
        if stray.name not in {*names, INDEX}:
            stray.unlink()
    write_json(media / INDEX, index)
