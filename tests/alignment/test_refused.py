"""What keeps a clip out of the aligned shards from run to run, and what brings it back; through the real stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.alignment import stage
from components.alignment.align import Aligner
from components.alignment.shards import clips_of
from components.contracts.atomic import write_json
from components.contracts.config import AlignmentQuality, MediaLimits, Params
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, decisions_json
from components.contracts.records import AlignedClip, Clip
from pipelines.stages import call_stage
from tests.alignment.media import grey, tone, wav, write_clip
from tests.alignment.test_stage import NAME, PARAMS, PLAIN, clip_of, put
from tests.trees import tree_sha256

BROKEN, LATE = "tiny/broken", "tiny/late"
STRICT = PARAMS.model_copy(
    update={"alignment": PLAIN.model_copy(update={"quality": AlignmentQuality(max_abs_offset_s=0.1)})}
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guarded process, which is tested elsewhere and takes seconds to start."""
    monkeypatch.setattr(stage, "has_media", lambda clip: False)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records which clips are really aligned; the aligner itself stays the real one."""
    seen: list[str] = []
    real = Aligner.align_ungated

    def recorded(self: Aligner, clip: Clip, *, root: Path) -> AlignedClip:
        seen.append(clip.clip_id)
        return real(self, clip, root=root)

    monkeypatch.setattr(Aligner, "align_ungated", recorded)
    return seen


@pytest.fixture
def refused(tmp_path: Path) -> tuple[Layout, list[Clip]]:
    """A good clip, a broken one, and one whose sound is later than `STRICT` allows; aligned once."""
    layout = Layout(tmp_path / "project")
    media = layout.root / "media"
    media.mkdir(parents=True)
    (media / "broken.mp4").write_text("no media\n" * 20)
    clips = [
        clip_of(layout.root, wav(media / "good.wav", tone(0.5, 16_000))),
        clip_of(layout.root, media / "broken.mp4"),
        clip_of(
            layout.root, write_clip(media / "late.mp4", pictures=[grey(90)] * 10, sound=tone(0.4), sound_start_s=0.4)
        ),
    ]
    put(layout, clips)
    assert call_stage("alignment", STRICT, layout, NAME)["quarantined_by_code"] == {"not-media": 1, "offset": 1}
    return layout, clips


def decide(layout: Layout, **fields: object) -> None:
    """A person's decision, as the stage `inputs` hands it on."""
    decision = Readmitted(dataset=NAME, stage=stage.STAGE, **fields)  # type: ignore[arg-type]
    write_json(layout.decisions(NAME, stage.STAGE), decisions_json([decision]))


def aligned(layout: Layout) -> set[str]:
    return {clip.clip_id for clip in clips_of(layout.aligned(NAME))}


def test_an_unchanged_refusal_is_not_decoded_again(
    refused: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, _ = refused
    before = tree_sha256(layout.aligned(NAME))
    seen = counting(monkeypatch)
    assert call_stage("alignment", STRICT, layout, NAME)["aligned_now"] == 0
    assert seen == []
    assert tree_sha256(layout.aligned(NAME)) == before


def test_a_mended_file_is_tried_by_itself_and_a_moved_one_is_named_where_it_is(
    refused: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, clips = refused
    seen = counting(monkeypatch)
    there = layout.root / "media" / "moved.mp4"
    (layout.root / "media" / "broken.mp4").rename(there)
    put(layout, [clips[0], replace(clips[1], video_path="media/moved.mp4"), clips[2]])
    call_stage("alignment", STRICT, layout, NAME)
    assert seen == [BROKEN]
    write_clip(there, pictures=[grey(90)] * 10, sound=tone(0.4))
    mended = replace(clip_of(layout.root, there), clip_id=BROKEN)
    put(layout, [clips[0], mended, clips[2]])
    seen.clear()
    call_stage("alignment", STRICT, layout, NAME)
    assert seen == [BROKEN]
    assert BROKEN in aligned(layout)


def test_a_person_may_ask_for_another_try_and_gets_one(
    refused: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, _ = refused
    seen = counting(monkeypatch)
    for tries in (1, 1, 2):
        decide(layout, clip_id=BROKEN, code="not-media", how="again", tries=tries)
        call_stage("alignment", STRICT, layout, NAME)
    assert seen == [BROKEN, BROKEN]


def test_other_limits_and_another_gate_try_again(
    refused: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, _ = refused
    seen = counting(monkeypatch)
    call_stage("alignment", PARAMS, layout, NAME)
    assert seen == [LATE]  # its figures pass a wider gate; a broken file passes none
    assert LATE in aligned(layout)
    seen.clear()
    limits = PARAMS.alignment.model_copy(update={"limits": MediaLimits(max_duration_s=60)})
    call_stage("alignment", Params(**{**PARAMS.__dict__, "alignment": limits}), layout, NAME)
    assert seen == [BROKEN]


def test_what_the_gate_refused_can_be_taken_as_it_is_for_what_was_seen(
    refused: tuple[Layout, list[Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, _ = refused
    seen = counting(monkeypatch)
    decide(layout, clip_id=LATE, code="offset", how="as_is", seen="+9.99 s", reason="a guess")
    call_stage("alignment", STRICT, layout, NAME)
    assert LATE not in aligned(layout)
    decide(layout, clip_id=LATE, code="offset", how="as_is", seen="+0.40 s", reason="the sound comes from a hall")
    summary = call_stage("alignment", STRICT, layout, NAME)
    assert seen == [LATE]
    assert LATE in aligned(layout)
    assert summary["quarantined_by_code"] == {"not-media": 1}
    seen.clear()
    call_stage("alignment", STRICT, layout, NAME)
    assert seen == []
    assert LATE in aligned(layout)
