"""What could not be encoded is tried again when something changed, and not otherwise. Everything here is really run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import write_json
from components.contracts.config import Features, Params
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, decisions_json
from components.contracts.records import AlignedClip
from components.datasets.staged import Staging
from components.features import stage
from components.features.base import Encoded, Encoder
from components.features.encode import EncodingResult
from components.features.failures import FILE
from components.features.pools import encoded_here
from components.features.registry import create
from components.features.work import EncodingTask, read_clips
from pipelines.stages import call_stage
from tests.builders import make_aligned_clip
from tests.features.test_stage import align
from tests.trees import tree_sha256

VOICE = Params(features=Features(encoders={"voice": "signal"}))
FACE = Params(features=Features(encoders={"face": "hog"}))
BROKEN = "tiny/broken"
Encode = Callable[[Sequence[AlignedClip]], list[Encoded]]


def broken(seed: int = 1) -> AlignedClip:
    clip = make_aligned_clip("broken", seed=seed, steps=12, content_sha256=f"{seed:064x}")
    return replace(clip, face_jpeg=(b"no picture",) * clip.grid.num_steps)


def good(seed: int) -> AlignedClip:
    return make_aligned_clip(f"good{seed}", seed=seed, steps=12, content_sha256=f"{seed:064x}")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that an encoder was given."""
    seen: list[str] = []

    def here(
        tasks: Sequence[EncodingTask], encoders: Mapping[str, Encoder], batch_clips: int, staging: Staging
    ) -> Iterator[EncodingResult]:
        for task in tasks:
            seen.extend(clip.clip_id for clips in read_clips(task, batch_clips=batch_clips) for clip, _ in clips)
        yield from encoded_here(tasks, encoders, batch_clips, staging)

    monkeypatch.setattr(stage, "encoded_here", here)
    return seen


@pytest.fixture
def two(tmp_path: Path) -> Layout:
    """A project of two clips."""
    layout = Layout(tmp_path)
    align(layout, [good(1), good(2)])
    return layout


def encode_by(patch: pytest.MonkeyPatch, encode: Callable[[Encode, Sequence[AlignedClip]], list[Encoded]]) -> None:
    """The encoder `signal` encodes by this; it is told the real way."""
    kind = type(create("signal", "voice", "cpu"))
    real = kind.encode
    patch.setattr(kind, "encode", lambda self, clips: encode(partial(real, self), clips))


def refused(layout: Layout) -> list[str]:
    return [row["clip_id"] for row in pq.read_table(layout.features("tiny") / "quarantine.parquet").to_pylist()]


def test_a_failure_is_remembered_until_content_or_encoder_changes(tmp_path: Path, tried: list[str]) -> None:
    layout = Layout(tmp_path)
    align(layout, [broken(), good(2)])
    summary = call_stage("features", FACE, layout, "tiny")
    assert sorted(tried) == [BROKEN, "tiny/good2"]
    assert refused(layout) == [BROKEN]
    before = tree_sha256(layout.features("tiny"))
    tried.clear()
    assert call_stage("features", FACE, layout, "tiny") == {**summary, "encoded": {"face": 0}}
    assert tried == []
    assert tree_sha256(layout.features("tiny")) == before
    # A clip of the same content is refused with it.
    align(layout, [broken(), replace(broken(), clip_id="tiny/copy"), good(2), good(3)])
    call_stage("features", FACE, layout, "tiny")
    assert tried == ["tiny/good3"]
    assert refused(layout) == [BROKEN, "tiny/copy"]
    tried.clear()
    align(layout, [broken(seed=9), good(2)])
    call_stage("features", FACE, layout, "tiny")
    assert tried == [BROKEN]
    tried.clear()
    call_stage("features", VOICE, layout, "tiny")
    assert sorted(tried) == [BROKEN, "tiny/good2"]
    assert refused(layout) == []
    tried.clear()
    call_stage("features", FACE, layout, "tiny")
    assert sorted(tried) == [BROKEN, "tiny/good2"]


def test_a_person_may_ask_for_another_try_and_gets_one(tmp_path: Path, tried: list[str]) -> None:
    layout = Layout(tmp_path)
    align(layout, [broken(), good(2)])
    call_stage("features", FACE, layout, "tiny")
    tried.clear()
    for tries in (1, 1, 2):
        asked = Readmitted(dataset="tiny", clip_id=BROKEN, stage="features", code="encoder", how="again", tries=tries)
        write_json(layout.decisions("tiny", "features"), decisions_json([asked]))
        call_stage("features", FACE, layout, "tiny")
    assert tried == [BROKEN, BROKEN]
    assert refused(layout) == [BROKEN]


def test_a_failure_with_a_code_of_before_is_remembered_as_todays(tmp_path: Path, tried: list[str]) -> None:
    layout = Layout(tmp_path)
    align(layout, [broken(), good(2)])
    call_stage("features", FACE, layout, "tiny")
    stored = layout.features("tiny") / FILE
    table = pq.read_table(stored)
    former = pa.array(["non_finite"] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index("code"), table.schema.field("code"), former), stored)
    tried.clear()
    call_stage("features", FACE, layout, "tiny")
    assert tried == []
    rows = pq.read_table(layout.features("tiny") / "quarantine.parquet").to_pylist()
    assert [(row["clip_id"], row["code"]) for row in rows] == [(BROKEN, "not-finite")]
    assert pq.read_table(stored).column("code").to_pylist() == ["not-finite"]


def test_many_remembered_failures_are_no_failure_of_the_encoder(tmp_path: Path, tried: list[str]) -> None:
    layout = Layout(tmp_path)
    bad = [replace(broken(seed), clip_id=f"tiny/b{seed}") for seed in range(10, 15)]
    align(layout, bad)
    for _ in range(2):  # nothing is remembered of a stage that stopped
        with pytest.raises(DataError, match="failed on every clip"):
            call_stage("features", FACE, layout, "tiny")
    align(layout, [*bad, good(2)])
    call_stage("features", FACE, layout, "tiny")
    tried.clear()
    assert call_stage("features", FACE, layout, "tiny")["quarantined"] == 5
    assert tried == []


def test_an_error_that_nobody_foresaw_is_tried_every_time(
    two: Layout, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(real: Encode, clips: Sequence[AlignedClip]) -> list[Encoded]:
        if any(clip.clip_id == "tiny/good1" for clip in clips):
            raise MemoryError("no room")
        return real(clips)

    with monkeypatch.context() as patched:
        encode_by(patched, short_of_memory)
        call_stage("features", VOICE, two, "tiny")
    assert refused(two) == ["tiny/good1"]
    assert pq.read_table(two.features("tiny") / FILE).num_rows == 0
    tried.clear()
    assert call_stage("features", VOICE, two, "tiny")["encoded"] == {"voice": 1}
    assert tried == ["tiny/good1"]
    assert refused(two) == []


def test_values_that_are_not_finite_are_remembered(
    two: Layout, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def infinite(real: Encode, clips: Sequence[AlignedClip]) -> list[Encoded]:
        return [
            replace(one, values=np.full_like(one.values, np.inf)) if clip.clip_id == "tiny/good1" else one
            for clip, one in zip(clips, real(clips), strict=True)
        ]

    encode_by(monkeypatch, infinite)
    for _ in range(2):
        call_stage("features", VOICE, two, "tiny")
        assert refused(two) == ["tiny/good1"]
    assert tried.count("tiny/good1") == 1
