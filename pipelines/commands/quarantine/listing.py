"""`mer quarantine list` and `show`: all clips that any stage set aside, or everything about one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.contracts.errors import DataError, nearest
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, read_readmitted
from components.contracts.records import MEDIA_PATHS, Quarantined
from components.validation.quarantine import STAGE as VALIDATION
from components.validation.suites import GATES, waivable
from components.validation.upstream import quarantined_of
from pipelines.project import find_root, load

FILE = "quarantine.parquet"
ALIGNMENT = "alignment"
# The columns that identify a clip for a person.
_ABOUT = ("subject_id", "session_id", "emotion", "split", "transcript", "content_sha256")


def listing(
    *, dataset: str | None = None, stage: str | None = None, as_json: bool = False, root: Path | None = None
) -> str:
    """The quarantined clips of the datasets in use, optionally of one dataset or stage, as text or as JSON lines."""
    layout = Layout(root or find_root())
    rows = [row for row in quarantine(layout, dataset) if stage in (None, row.stage)]
    if as_json:
        return "\n".join(json.dumps(asdict(row), sort_keys=True, ensure_ascii=False) for row in rows)
    if not rows:
        return "Nothing was set aside."
    return "\n".join(
        [*map(_block, rows), "`mer quarantine show CLIP` shows everything about one clip", f"{len(rows)} set aside"]
    )


def show(clip_id: str, *, root: Path | None = None) -> str:
    """Everything about a clip in quarantine: each reason with all its fields, the person, the files and whether they
    exist, the decisions about it, and what can be done.

    Raises:
        DataError: the clip is not in quarantine.
    """
    layout = Layout(root or find_root())
    rows = quarantine(layout)
    own = [row for row in rows if row.clip_id == clip_id]
    if not own:
        clip_ids = sorted({row.clip_id for row in rows})
        raise DataError(
            "this clip is not in quarantine",
            where=clip_id,
            seen=f"{len(clip_ids)} clips are",
            remedy=nearest(clip_id, clip_ids) or "`mer quarantine list` lists them",
        )
    decided = [row for row in read_readmitted(layout.readmitted) if row.clip_id == clip_id]
    parts = [clip_id, *(_reason(row) for row in own), *_clip(layout, own[0])]
    parts += [_decision(row) for row in decided]
    return "\n\n".join([*parts, "what can be done\n" + "\n".join(f"  {line}" for line in _ways(own))])


def quarantine(layout: Layout, dataset: str | None = None) -> list[Quarantined]:
    """Each stage's own rows, of the datasets in use or of one. Validation's table also has the rows that earlier stages
    had when it last ran; these are left out."""
    names: Sequence[str] = load(layout.root).datasets if dataset is None else (dataset,)
    return [row for name in names for row in _rows(layout, name)]


def may_be_taken(row: Quarantined) -> bool:
    """Whether a person may take a clip as it is despite this row."""
    return (row.stage == VALIDATION and row.code in waivable()) or (row.stage == ALIGNMENT and row.code in GATES)


def _rows(layout: Layout, name: str) -> Iterator[Quarantined]:
    for folder in (layout.dataset(name), layout.aligned(name), layout.features(name), layout.validated(name)):
        own = folder == layout.validated(name)
        yield from (row for row in quarantined_of(folder / FILE) if not own or row.stage == VALIDATION)


def _block(row: Quarantined) -> str:
    """A row as text: the clip, the reason, and the file and remedy unless the message contains them."""
    lines = [f"{row.clip_id}  [{row.stage}: {row.code}]", row.message]
    lines += [f"{name} {text}" for name, text in (("file", row.path), ("try", row.remedy)) if _adds(row, text)]
    return "\n    ".join(lines)


def _adds(row: Quarantined, text: str | None) -> bool:
    return bool(text) and str(text) not in row.message


def _reason(row: Quarantined) -> str:
    fields = ("message", "path", "field", "seen", "allowed", "remedy")
    lines = [f"  {name:<8} {value}" for name in fields if (value := getattr(row, name)) is not None]
    return "\n".join([f"set aside by {row.stage}: {row.code}", *lines])


def _clip(layout: Layout, row: Quarantined) -> list[str]:
    """The clip's row and its files; only the file where the clip has no row."""
    table = layout.dataset(row.dataset) / "clips.parquet"
    rows = pq.read_table(table, filters=[("clip_id", "=", row.clip_id)]).to_pylist() if table.is_file() else []
    clip: dict[str, Any] = rows[0] if rows else {}
    about = [f"  {name:<14} {clip[name]}" for name in _ABOUT if clip.get(name)]
    media = [clip[name] for name in MEDIA_PATHS if clip.get(name)]
    media += [features["path"] for features in clip.get("given") or ()]
    files = list(dict.fromkeys([*media, *([row.path] if row.path else [])]))
    parts = [["the clip", *about]] if about else []
    if files:
        parts.append(["its files", *(f"  {name}  ({_state(layout.root / name)})" for name in files)])
    return ["\n".join(part) for part in parts]


def _state(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return f"{path.stat().st_size} bytes" if path.is_file() else "missing"


def _decision(row: Readmitted) -> str:
    what = "to be taken as it is" if row.how == "as_is" else f"to be tried again ({row.tries} times so far)"
    lines = [f"decided for {row.stage}: {row.code}", f"  {what}"]
    lines += [f"  {name:<8} {value}" for name, value in (("seen", row.seen), ("reason", row.reason)) if value]
    return "\n".join(lines)


def _ways(rows: Sequence[Quarantined]) -> list[str]:
    clip_id = rows[0].clip_id
    lines = [row.remedy for row in rows if row.remedy]
    lines.append("repair it and `mer run`: a file or label that changed is tried automatically")
    if any(row.stage != VALIDATION for row in rows):
        lines.append(f"`mer quarantine readmit {clip_id}`, then `mer run`: try once more as it is")
    if any(map(may_be_taken, rows)):
        lines.append(f'`mer quarantine readmit {clip_id} --reason "…"`, then `mer run`: take it as it is')
    return list(dict.fromkeys(lines))
