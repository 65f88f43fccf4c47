from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.alignment import stage
from components.alignment.fingerprint import alignment_fingerprint
from components.alignment.guard import Guard
from components.alignment.shards import clips_of
from components.contracts.atomic import read_json, write_table
from components.contracts.config import (
    Alignment,
    AlignmentQuality,
    FaceAlignment,
    Params,
    RayResources,
    VoiceAlignment,
)
from components.contracts.errors import DataError
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.contracts.records import QUARANTINE_SCHEMA, Clip, clip_table
from pipelines.stages import call_stage
from tests.alignment.media import draw_face, tone, wav, write_clip
from tests.builders import make_clip

# No network: what they see is tested elsewhere, and every run starts processes that would load them.
PLAIN = Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy"))
PARAMS = Params(alignment=PLAIN, ray=RayResources(num_cpus=2))
NAME = "tiny"


def clip_of(root: Path, path: Path, **fields: Any) -> Clip:
    name = path.relative_to(root).as_posix()
    key = "video_path" if path.suffix == ".mp4" else "audio_path"
    content = hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()
    return make_clip(path.stem, content_sha256=content, **{key: name}, **fields)


def corpus(root: Path, count: int = 4) -> list[Clip]:
    """Sound files, one face, one broken file and one that is not there."""
    media = root / "media"
    media.mkdir(parents=True)
    clips = [
        clip_of(root, wav(media / f"{k:02d}.wav", tone(0.5, 16_000, hz=200 + 10 * k)), transcript="so it is")
        for k in range(count)
    ]
    clips.append(clip_of(root, write_clip(media / "face.mp4", pictures=[draw_face()] * 13, sound=tone(0.5))))
    (media / "broken.mp4").write_text("no media\n" * 20)
    clips.append(clip_of(root, media / "broken.mp4"))
    clips.append(clip_of(root, media / "gone.wav"))
    return clips


def put(layout: Layout, clips: list[Clip]) -> None:
    write_table(layout.dataset(NAME) / "clips.parquet", clip_table(clips))


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir())}


@pytest.fixture
def done(tmp_path: Path) -> tuple[Layout, list[Clip]]:
    layout = Layout(tmp_path / "project")
    clips = corpus(layout.root)
    put(layout, clips)
    call_stage("alignment", PARAMS, layout, NAME)
    return layout, clips


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records which clips are really aligned; the guarded aligner itself stays the real one."""
    seen: list[str] = []
    real = Guard.align

    def recorded(self: Guard, clip: Clip) -> Any:
        seen.append(clip.clip_id)
        return real(self, clip)

    monkeypatch.setattr(Guard, "align", recorded)
    return seen


def test_every_clip_ends_in_a_shard_or_in_quarantine(done: tuple[Layout, list[Clip]]) -> None:
    layout, clips = done
    folder = layout.aligned(NAME)
    aligned = [clip.clip_id for clip in clips_of(folder)]
    refused = pq.read_table(folder / "quarantine.parquet")
    assert refused.schema.equals(QUARANTINE_SCHEMA)
    codes = {row["clip_id"]: (row["code"], row["stage"], row["path"]) for row in refused.to_pylist()}
    assert aligned == [*(f"tiny/{k:02d}" for k in range(4)), "tiny/face"]
    assert codes == {
        "tiny/broken": ("not-media", "alignment", "media/broken.mp4"),
        "tiny/gone": ("missing-file", "alignment", "media/gone.wav"),
    }
    assert sorted([*aligned, *codes]) == sorted(clip.clip_id for clip in clips)
    summary = read_json(folder / "summary.json")
    assert summary["aligned"] == 5
    assert summary["quarantined_by_code"] == {"missing-file": 1, "not-media": 1}
    assert summary["alignment_fingerprint"] == alignment_fingerprint(PARAMS.alignment)
    assert summary["notes"]["sound only"] == 4


def test_quality_is_written_per_clip(done: tuple[Layout, list[Clip]]) -> None:
    rows = pq.read_table(done[0].aligned(NAME) / "quality.parquet").to_pylist()
    assert [row["clip_id"] for row in rows] == [*(f"tiny/{k:02d}" for k in range(4)), "tiny/face"]
    for row in rows:
        assert row["passed"]
        assert row["duration_s"] == pytest.approx(0.5, abs=0.05)
        assert set(dict(row["coverage"])) == {"face", "voice", "text", "physio"}


def test_no_output_names_the_checkout(done: tuple[Layout, list[Clip]]) -> None:
    layout, _ = done
    for path in layout.aligned(NAME).iterdir():
        assert str(layout.root).encode() not in path.read_bytes()
    for row in pq.read_table(layout.aligned(NAME) / "quarantine.parquet").to_pylist():
        assert str(layout.root) not in str(row)


def test_a_second_run_aligns_nothing_that_is_done(
    done: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, _ = done
    before = hashes(layout.aligned(NAME))
    seen = counting(monkeypatch)
    call_stage("alignment", PARAMS, layout, NAME)
    assert seen == ["tiny/gone"]  # it may be back; the content of the broken one is what it was
    assert hashes(layout.aligned(NAME)) == before


def test_an_incremental_run_leaves_the_bytes_of_a_full_one(
    done: tuple[Layout, list[Clip]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, clips = done
    more = clip_of(layout.root, wav(layout.root / "media" / "015.wav", tone(0.6, 16_000)))
    changed = wav(layout.root / "media" / "02.wav", tone(0.7, 16_000, hz=99))
    now = [more, clip_of(layout.root, changed), *(clip for clip in clips if clip.clip_id not in ("tiny/02", "tiny/00"))]
    put(layout, now)
    seen = counting(monkeypatch)
    call_stage("alignment", PARAMS, layout, NAME)
    assert {"tiny/015", "tiny/02"} <= set(seen)
    assert not {"tiny/01", "tiny/03", "tiny/face"} & set(seen)
    fresh = Layout(layout.root)
    incremental = hashes(layout.aligned(NAME))
    for path in layout.aligned(NAME).iterdir():
        path.unlink()
    call_stage("alignment", PARAMS, fresh, NAME)
    assert hashes(fresh.aligned(NAME)) == incremental
    assert "tiny/00" not in [clip.clip_id for clip in clips_of(fresh.aligned(NAME))]


def test_other_settings_align_again(done: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch) -> None:
    layout, _ = done
    seen = counting(monkeypatch)
    other = PARAMS.model_copy(update={"alignment": PLAIN.model_copy(update={"rate_hz": 5.0})})
    call_stage("alignment", other, layout, NAME)
    assert len(seen) == 7


def test_a_stricter_gate_refuses_rows_that_were_kept(
    done: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, _ = done
    seen = counting(monkeypatch)
    late = write_clip(
        layout.root / "media" / "late.mp4", pictures=[draw_face()] * 25, sound=tone(1.0), sound_start_s=0.4
    )
    put(layout, [*stage.clips_of(pq.read_table(layout.dataset(NAME) / "clips.parquet")), clip_of(layout.root, late)])
    call_stage("alignment", PARAMS, layout, NAME)
    assert "tiny/late" in [clip.clip_id for clip in clips_of(layout.aligned(NAME))]
    seen.clear()
    strict = PARAMS.model_copy(
        update={"alignment": PLAIN.model_copy(update={"quality": AlignmentQuality(max_abs_offset_s=0.1)})}
    )
    summary = call_stage("alignment", strict, layout, NAME)
    assert "tiny/late" not in seen
    assert summary["quarantined_by_code"]["offset"] == 1
    row = next(
        row
        for row in pq.read_table(layout.aligned(NAME) / "quality.parquet").to_pylist()
        if row["clip_id"] == "tiny/late"
    )
    assert not row["passed"]
    assert row["offset_s"] == pytest.approx(0.4, abs=0.03)


def test_no_clips_and_no_table(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(DataError) as caught:
        call_stage("alignment", PARAMS, layout, NAME)
    assert caught.value.code == "no-clip-table"
    put(layout, [])
    assert call_stage("alignment", PARAMS, layout, NAME)["clips"] == 0
    assert pq.read_table(layout.aligned(NAME) / "quarantine.parquet").num_rows == 0


@pytest.mark.integration
def test_the_actor_pool_writes_what_one_process_writes(
    tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    put(layout, corpus(tmp_path, count=stage.IN_PROCESS_CLIPS + 5))
    pooled = call_stage("alignment", PARAMS, layout, NAME)
    outputs = hashes(layout.aligned(NAME))
    for path in layout.aligned(NAME).iterdir():
        path.unlink()
    monkeypatch.setattr(stage, "IN_PROCESS_CLIPS", 1_000)
    assert call_stage("alignment", PARAMS, layout, NAME) == pooled
    assert hashes(layout.aligned(NAME)) == outputs
