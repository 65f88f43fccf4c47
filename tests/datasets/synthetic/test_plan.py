from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from components.datasets.synthetic.plan import CORRUPTED, MISSING, MODALITY_OF, SCENARIOS, ClipPlan, plan_corpus
from components.datasets.synthetic.signs import EMOTIONS, PLAIN_SHARE, SIGNS


def of_kind(plans: list[ClipPlan], kind: str) -> list[ClipPlan]:
    found = [plan for plan in plans if any(planted.kind == kind for planted in plan.planted)]
    assert found
    return found


def test_a_larger_corpus_contains_the_smaller_one() -> None:
    small = plan_corpus(seed=3, subjects=2, clips_per_subject=3, picture_px=128)
    large = {plan.name: plan for plan in plan_corpus(seed=3, subjects=5, clips_per_subject=6, picture_px=128)}
    assert all(large[plan.name] == plan for plan in small)


def test_the_seed_decides_everything() -> None:
    first, again, other = (
        plan_corpus(seed=seed, subjects=2, clips_per_subject=4, picture_px=128) for seed in (3, 3, 4)
    )
    assert [plan.file_stem for plan in first] == [plan.file_stem for plan in again]
    assert not {plan.file_stem for plan in first} & {plan.file_stem for plan in other}
    assert [plan.name for plan in first] == [plan.name for plan in other]


def test_a_plan_is_plain_json_and_its_fingerprint_sees_every_field(plans: list[ClipPlan]) -> None:
    json.dumps(plans[0].to_json())
    changed = [
        replace(plans[0], renderer=99),
        replace(plans[0], intensity=0.01),
        replace(plans[0], words=plans[0].words[1:]),
    ]
    assert len({plan.file_stem for plan in (plans[0], *changed)}) == 4


def test_every_subject_shows_every_emotion_and_every_flaw_occurs(plans: list[ClipPlan]) -> None:
    by_subject = Counter((plan.subject, plan.emotion) for plan in plans)
    assert set(by_subject.values()) == {1}
    assert {plan.emotion for plan in plans} == set(EMOTIONS)
    assert {plan.flaw for plan in plans} == {None, *MISSING, *CORRUPTED}
    kinds = {planted.kind for plan in plans for planted in plan.planted}
    assert kinds == set(SCENARIOS) - {"steady"}


def test_segments_cover_each_clip_without_gaps_and_words_lie_inside(plans: list[ClipPlan]) -> None:
    for plan in plans:
        edges = [0.0, *(segment.end_s for segment in plan.segments)]
        assert [segment.start_s for segment in plan.segments] == edges[:-1]
        assert edges[-1] == plan.duration_s
        assert 4.0 <= plan.duration_s <= 6.0
        starts = [word.start_s for word in plan.words]
        assert starts == sorted(starts)
        assert all(word.start_s < word.end_s for word in plan.words)
        assert plan.words[0].start_s >= plan.audio_start_s
        assert plan.words[-1].end_s < plan.duration_s


def test_a_transition_is_labelled_by_its_longer_part(plans: list[ClipPlan]) -> None:
    for plan in of_kind(plans, "transition"):
        assert len(plan.segments) == 2
        longest = max(plan.segments, key=lambda segment: segment.end_s - segment.start_s)
        assert longest.emotion == plan.emotion
        assert longest.end_s - longest.start_s >= 0.57 * plan.duration_s
        assert min(segment.end_s - segment.start_s for segment in plan.segments) > 1.5
        first, second = (SIGNS[segment.emotion] for segment in plan.segments)
        assert first.face != second.face
        assert first.voice != second.voice


def test_flashes_are_short_and_inside_a_sustained_mood(plans: list[ClipPlan]) -> None:
    for plan in of_kind(plans, "flash"):
        moods, flashes = plan.segments[::2], plan.segments[1::2]
        assert {mood.emotion for mood in moods} == {plan.emotion}
        assert all(mood.end_s - mood.start_s >= 1.0 for mood in moods[1:-1])
        assert min(moods[0].end_s, moods[-1].end_s - moods[-1].start_s) > 0.5
        for flash, planted in zip(flashes, plan.planted, strict=True):
            assert (flash.start_s, flash.end_s, flash.emotion) == (planted.start_s, planted.end_s, planted.emotion)
            assert flash.emotion != plan.emotion
            assert 0.295 <= flash.end_s - flash.start_s <= 0.605
        assert plan.shown == plan.voiced
        assert [part.brief for part in plan.shown] == [False, True, False, True, False]


def test_every_person_flashes_and_flashes_are_spoken(plans: list[ClipPlan]) -> None:
    flashing = of_kind(plans, "flash")
    assert {plan.subject for plan in flashing} == {plan.subject for plan in plans}
    heard = [
        any(flash.start_s <= word.start_s + 0.01 and word.start_s < flash.end_s for word in plan.words)
        for plan in flashing
        for flash in plan.planted
    ]
    assert len(heard) == 2 * len(flashing) >= len(plans) / 3
    assert sum(heard) >= 0.85 * len(heard)


def test_a_contradiction_is_labelled_by_the_voice_and_the_words(plans: list[ClipPlan]) -> None:
    for plan in of_kind(plans, "contradiction"):
        [planted] = plan.planted
        assert planted.modality == "face"
        assert planted.emotion != plan.emotion
        assert [(part.start_s, part.end_s) for part in plan.shown if part.emotion == planted.emotion] == [
            (planted.start_s, planted.end_s)
        ]
        assert {part.emotion for part in plan.shown} <= {planted.emotion, plan.emotion}
        assert [plan.shown[0].start_s, plan.shown[-1].end_s] == [0.0, plan.duration_s]
        assert {part.emotion for part in plan.voiced} == {plan.emotion}
        assert [segment.emotion for segment in plan.segments] == [plan.emotion]
        assert plan.text_id.startswith(SIGNS[plan.emotion].text)
        assert SIGNS[str(planted.emotion)].face != SIGNS[plan.emotion].face


def test_contradictions_last_the_whole_clip_or_a_part_of_it(plans: list[ClipPlan]) -> None:
    spans = [(plan.planted[0], plan.duration_s) for plan in of_kind(plans, "contradiction")]
    lengths = [float(planted.end_s or 0.0) - float(planted.start_s or 0.0) for planted, _ in spans]
    parts = [length for length, (_, duration_s) in zip(lengths, spans, strict=True) if length < duration_s]
    assert 0 < len(parts) < len(spans)
    assert all(1.59 <= length <= 2.61 for length in parts)


def test_a_flaw_names_the_modality_it_takes(plans: list[ClipPlan]) -> None:
    for plan in plans:
        if plan.flaw:
            [planted] = plan.planted
            assert planted.modality == MODALITY_OF[plan.flaw]
            assert planted.kind == ("missing" if plan.flaw in MISSING else "corrupted")


def test_late_sound_starts_late_and_says_nothing_before(plans: list[ClipPlan]) -> None:
    for plan in of_kind(plans, "late_audio"):
        assert 0.3 <= plan.audio_start_s <= 0.8
        assert plan.planted[0].end_s == plan.audio_start_s


def test_about_the_stated_share_of_clips_has_plain_words(plans: list[ClipPlan]) -> None:
    free = [plan for plan in plans if not any(planted.kind == "contradiction" for planted in plan.planted)]
    share = sum(plan.text_id.startswith("plain") for plan in free) / len(free)
    assert share == pytest.approx(PLAIN_SHARE, abs=0.1)
    coloured = [plan for plan in free if not plan.text_id.startswith("plain")]
    assert all(plan.text_id.split("-")[0] == SIGNS[plan.emotion].text for plan in coloured)
