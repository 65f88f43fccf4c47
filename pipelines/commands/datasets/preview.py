"""`mer datasets preview NAME`: an HTML page with a sample of a corpus, for a look before it is used.

The page is made from the outputs of the stages if they exist. Otherwise the corpus is checked and a sample of it
aligned here; only the page is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from components.alignment.align import Aligner
from components.alignment.fingerprint import alignment_fingerprint
from components.alignment.guard import Guard
from components.alignment.outcome import ClipOutcome, align_one, judged
from components.alignment.stage import has_media
from components.catalog.assign import assign
from components.catalog.clips import Clips
from components.catalog.rows import catalog_rows, is_labelled
from components.contracts.atomic import atomic_file
from components.contracts.errors import ConfigError, DataError
from components.contracts.readmitted import Decisions, read_decisions
from components.contracts.records import AlignedClip, Clip, Quarantined, clips_of
from components.datasets.check import check
from components.datasets.withdrawn import read_withdrawn
from components.runtime.progress import progress
from components.validation.accepted import ACCEPTED_SCHEMA
from pipelines.commands.datasets.preview_page import render
from pipelines.commands.datasets.sample import Preview, Sampled, sample
from pipelines.commands.datasets.settings import DatasetSettings, settings

MAX_CLIPS = 200


def command(name: str, *, root: str | None, assignments: Sequence[str], clips: int, output: Path | None) -> str:
    """Writes the page and returns its path.

    Args:
        name: of the dataset.
        root, assignments: as for `check`; with either, the outputs of the stages are not used.
        clips: number of clips on the page.
        output: the page; `preview-<name>.html` in the current folder when left out.

    Raises:
        ConfigError: the dataset or an option is wrong.
        DataError: the corpus cannot be read.
    """
    if not 1 <= clips <= MAX_CLIPS:
        raise ConfigError(
            "this number of clips does not fit a page", where="--clips", seen=clips, allowed=f"1 to {MAX_CLIPS}"
        )
    chosen = settings(name, root=root, assignments=assignments)
    target = Path.cwd() / (output or f"preview-{name}.html")
    with _source(name, chosen, anew=root is not None or bool(assignments)) as source:
        usable, quarantined, notes, place, origin = source
        if not usable:
            raise DataError("no clip can be shown", where=name, remedy=f"`mer datasets check {name}` prints why")
        preview = Preview(
            name=name,
            licence=chosen.adapter.licence,
            clips=usable,
            quarantined=quarantined,
            notes=notes,
            sampled=_aligned(sample(usable, clips), chosen, place, stored=place == chosen.layout.root),
            split_of=splits(usable, chosen),
            classes=chosen.params.labels.resolved,
            origin=origin,
            root=str(chosen.layout.root),
        )
        text = render(preview)
    with atomic_file(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return str(target)


Source = tuple[list[Clip], list[Quarantined], list[str], Path, str]


@contextmanager
def _source(name: str, chosen: DatasetSettings, *, anew: bool) -> Iterator[Source]:
    """Clips, quarantined rows, notes, the folder that the clips' paths are relative to, and the origin in words."""
    layout = chosen.layout
    table = layout.dataset(name) / "clips.parquet"
    if table.is_file() and not anew:
        rows: list[Quarantined] = []
        for folder in (layout.dataset(name), layout.aligned(name)):
            if (path := folder / "quarantine.parquet").is_file():
                rows += [Quarantined.from_row(row) for row in pq.read_table(path).to_pylist()]
        yield clips_of(pq.read_table(table)), rows, [], layout.root, "as the stages wrote it"
        return
    layout.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="preview-", dir=layout.state) as scratch:
        found = check(
            chosen.adapter,
            chosen.options,
            root=layout.root,
            scratch=Path(scratch),
            seed=chosen.params.seed,
            withdrawn=read_withdrawn(layout.root, name),
        )
        yield found.clips, found.quarantined, found.notes, Path(scratch), "as the corpus is now"


def _aligned(clips: Sequence[Clip], chosen: DatasetSettings, root: Path, *, stored: bool) -> list[Sampled]:
    """The clips with the result of alignment, taken from its shards where they are up to date."""
    config = chosen.params.alignment
    there = _stored(clips, chosen) if stored else {}
    decisions = read_decisions(chosen.layout.decisions(chosen.adapter.name, "alignment")) if stored else Decisions()
    made: dict[str, AlignedClip | Quarantined] = {}
    missing = [clip for clip in clips if clip.clip_id not in there]
    if missing:
        aligner = Aligner(config, media=False)
        with progress("preview: align", len(missing)) as advance, Guard(config, root) as guard:
            for clip in missing:
                result = guard.result(clip) if has_media(clip) else align_one(aligner, clip, root)
                made[clip.clip_id] = _outcome(judged(clip, result, config, decisions))
                advance(1)
    return [_sampled(clip, there.get(clip.clip_id) or made[clip.clip_id]) for clip in clips]


def _outcome(result: ClipOutcome) -> AlignedClip | Quarantined:
    if result.quarantined is not None:
        return result.quarantined
    if result.row is None:
        raise DataError("a clip was neither aligned nor set aside", where=result.clip_id)
    return AlignedClip.from_row(result.row.to_pylist()[0])


def _sampled(clip: Clip, outcome: AlignedClip | Quarantined) -> Sampled:
    if isinstance(outcome, Quarantined):
        return Sampled(clip=clip, quarantined=outcome)
    return Sampled(clip=clip, aligned=outcome)


def _stored(clips: Sequence[Clip], chosen: DatasetSettings) -> dict[str, AlignedClip]:
    """Clip id → its row of the alignment stage, if it was made from the same content with the same settings."""
    shards = sorted(map(str, chosen.layout.aligned(chosen.adapter.name).glob("shard-*.parquet")))
    if not shards:
        return {}
    content = {clip.clip_id: clip.content_sha256 for clip in clips}
    current = alignment_fingerprint(chosen.params.alignment)
    table = ds.dataset(shards).to_table(filter=ds.field("clip_id").isin(list(content)))
    rows = [AlignedClip.from_row(row) for row in table.to_pylist()]
    return {
        row.clip_id: row
        for row in rows
        if row.content_sha256 == content[row.clip_id] and row.alignment_fingerprint == current
    }


def splits(clips: Sequence[Clip], chosen: DatasetSettings) -> Mapping[str, str] | str:
    """Clip id → the split that it would be in if this dataset were used alone; or why there is none."""
    classes = chosen.params.labels.resolved
    unknown = {"num_steps": 0, "rate_hz": 0.0, "duration_s": 0.0, "keys": ()}  # nothing that splits depend on
    rows = catalog_rows(
        pa.Table.from_pylist([{**clip.to_row(), **unknown} for clip in clips], ACCEPTED_SCHEMA), classes
    )
    known = Clips.of(rows.filter(is_labelled(rows)))
    try:
        return known.named(assign(known, chosen.params.catalog, chosen.params.seed))
    except DataError as error:
        return error.what
