"""The outcome of one clip: aligned, or set aside with a reason; and its form for passing it between processes."""

from __future__ import annotations

import json
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from components.alignment import quality
from components.contracts.codes import Code
from components.contracts.config import Alignment
from components.contracts.errors import MediaError, UnavailableError
from components.contracts.readmitted import Decisions
from components.contracts.records import ALIGNED_SCHEMA, AlignedClip, Clip, Quality, Quarantined
from components.contracts.room import full_disk_named
from components.media.source import out_of_memory

if TYPE_CHECKING:
    from components.alignment.align import Aligner

STAGE = "alignment"
TRACE_FRAMES = 4
RESULT_SCHEMA = pa.schema([("row", pa.large_binary()), ("quality", pa.string()), ("quarantined", pa.string())])


@dataclass(frozen=True, kw_only=True)
class ClipOutcome:
    """The outcome of one clip: its aligned row (a table of one row) if it passed, its quality if it could be
    measured, its quarantine row if it did not pass."""

    clip_id: str
    content_sha256: str
    row: pa.Table | None = None
    quality: Quality | None = None
    quarantined: Quarantined | None = None


def align_one(aligner: Aligner, clip: Clip, root: Path) -> ClipOutcome:
    """Aligns one clip, before the quality gate (`judged`); any failure of the clip becomes a quarantine row.

    Raises:
        UnavailableError: the machine cannot do it, whatever the clip: weights are missing, a disk is full.
    """
    try:
        with full_disk_named(root):
            return measured(aligner.align_ungated(clip, root=root))
    except UnavailableError:
        raise
    except MediaError as error:
        return refused(clip, error)
    except MemoryError:
        return refused(clip, out_of_memory(aligner.config.limits, clip.clip_id))
    except Exception as error:  # one clip must never end a run over thousands; its row names the error
        return refused(clip, _internal(clip, error, root))


def measured(aligned: AlignedClip) -> ClipOutcome:
    """The result of an aligned clip, before the quality gate."""
    row = pa.Table.from_pylist([aligned.to_row()], schema=ALIGNED_SCHEMA)
    return ClipOutcome(clip_id=aligned.clip_id, content_sha256=aligned.content_sha256, row=row, quality=aligned.quality)


def judged(clip: Clip, result: ClipOutcome, config: Alignment, decisions: Decisions) -> ClipOutcome:
    """A result after the quality gate, except for clips that a person accepted. Unmeasured results stay as they are."""
    if result.quality is None:
        return result
    refusal = None
    try:
        quality.gate(result.quality, config.quality, where=clip.clip_id)
    except MediaError as error:
        refusal = _quarantined(clip, error)
        if decisions.covers(clip.clip_id, refusal.code, refusal.seen or ""):
            refusal = None
    return replace(result, row=None if refusal else result.row, quarantined=refusal)


def refused(clip: Clip, error: MediaError) -> ClipOutcome:
    """The result of a clip that cannot be used."""
    return ClipOutcome(clip_id=clip.clip_id, content_sha256=clip.content_sha256, quarantined=_quarantined(clip, error))


def _quarantined(clip: Clip, error: MediaError) -> Quarantined:
    return Quarantined.from_error(error, dataset=clip.dataset, clip_id=clip.clip_id, stage=STAGE, path=clip.main_path)


def _internal(clip: Clip, error: Exception, root: Path) -> MediaError:
    # File names and lines only: the output must not depend on where the checkout lies.
    frames = traceback.extract_tb(error.__traceback__)[-TRACE_FRAMES:]
    trace = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return MediaError(
        "an unexpected error while aligning",
        where=clip.clip_id,
        seen=f"{type(error).__name__}: {error}".replace(str(root.resolve()), ".") + f" [{trace}]",
        remedy="This is a defect of the code: report it with the clip",
        code=Code.INTERNAL,
    )


def packed(result: ClipOutcome) -> dict[str, Any]:
    """A result for another process: the row as one Arrow IPC buffer, so that it is copied and never re-encoded."""
    row = None
    if result.row is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, result.row.schema) as stream:
            stream.write_table(result.row)
        row = sink.getvalue().to_pybytes()
    return {
        "row": row,
        "quality": as_text(result.quality),
        "quarantined": as_text(result.quarantined),
    }


def unpacked(clip: Clip, fields: dict[str, Any]) -> ClipOutcome:
    """The result of a clip from the fields that `packed` returned."""
    return ClipOutcome(
        clip_id=clip.clip_id,
        content_sha256=clip.content_sha256,
        row=pa.ipc.open_stream(fields["row"]).read_all() if fields["row"] is not None else None,
        quality=quality_of(fields["quality"]),
        quarantined=quarantined_of(fields["quarantined"]),
    )


def as_text(record: Quality | Quarantined | None) -> str | None:
    """A record as JSON, for a column of text."""
    return None if record is None else json.dumps(asdict(record))


def quality_of(text: str | None) -> Quality | None:
    """The quality that `as_text` wrote."""
    return Quality.from_row(json.loads(text)) if text else None


def quarantined_of(text: str | None) -> Quarantined | None:
    """The quarantine row that `as_text` wrote."""
    return Quarantined.from_row(json.loads(text)) if text else None
