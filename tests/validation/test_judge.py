"""Every promise of the suites, broken once, through a real Great Expectations context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import write_json, write_table
from components.contracts.config import Params, Validation
from components.contracts.errors import ContractError
from components.contracts.labels import ABAW8
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, decisions_json, read_decisions
from components.contracts.records import Quarantined, Segment, Word
from components.features.base import Encoded
from components.features.store import FeatureStore
from components.validation.checkpoint import Checker
from components.validation.judge import DatasetValidation, judge
from components.validation.quarantine import Waivers
from components.validation.upstream import read_upstream
from pipelines.stages import STAGES
from tests.validation.tables import Tiny, tiny_clips, tiny_params

pytestmark = pytest.mark.integration


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., DatasetValidation]:
    def run(tiny: Tiny, params: Params | None = None, layout: Layout | None = None) -> DatasetValidation:
        place = layout or tiny.write(Layout(tmp_path))
        upstream = read_upstream(place, tiny.dataset)
        values = STAGES["validation"].values(params or tiny_params())
        return judge(upstream, FeatureStore(place.features(tiny.dataset)), Checker(), **values)

    return run


def test_a_sound_dataset_is_accepted_whole(judged: Callable[..., DatasetValidation]) -> None:
    tiny = Tiny()
    judgement = judged(tiny)
    assert judgement.accepted.column("clip_id").to_pylist() == sorted(clip.clip_id for clip in tiny.clips)
    assert judgement.quarantined == ()
    result = judgement.result(ABAW8)
    assert result["success"]
    assert result["per_class"] == {"neutral": 4, "anger": 4, "happiness": 4}
    assert "other" in result["absent_classes"]


def _clip(**fields: Any) -> Callable[[Tiny, int], str]:
    return lambda tiny, position: tiny.change_clip(position, **fields)


def _quality(**fields: Any) -> Callable[[Tiny, int], str]:
    def change(tiny: Tiny, position: int) -> str:
        tiny.quality[position].update(fields)
        return str(tiny.quality[position]["clip_id"])

    return change


def _index(**fields: Any) -> Callable[[Tiny, int], str]:
    def change(tiny: Tiny, position: int) -> str:
        tiny.index[position].update(fields)
        return str(tiny.index[position]["clip_id"])

    return change


def _features(change: Callable[[Encoded], Encoded]) -> Callable[[Tiny, int], str]:
    return lambda tiny, position: tiny.change_features(position, "face", change)


def _one_not_finite(encoded: Encoded) -> Encoded:
    values = encoded.values.copy()
    values[3, 1] = np.inf
    return Encoded(values, encoded.valid)


ROWS: dict[str, tuple[Callable[[Tiny, int], str], str, str]] = {
    "unknown emotion": (_clip(emotion="happyness"), "emotion_is_known", "happyness"),
    "unknown emotion in a segment": (
        _clip(segments=(Segment(start_s=0, end_s=1, emotion="glee"),)),
        "segment_emotion_is_known",
        "glee",
    ),
    "segment beyond the end": (
        _clip(segments=(Segment(start_s=0, end_s=9, emotion="anger"),)),
        "segment_times",
        "0.000 to 9.000 s of 2.000 s",
    ),
    "segment backwards": (
        _clip(segments=(Segment(start_s=1.5, end_s=1.0, emotion="anger"),)),
        "segment_times",
        "1.500 to 1.000 s of 2.000 s",
    ),
    "segments overlap": (
        _clip(segments=(Segment(start_s=0, end_s=1, emotion="anger"), Segment(start_s=0.5, end_s=2, emotion="fear"))),
        "segment_times",
        "0.500 to 2.000 s overlaps 0.000 to 1.000 s",
    ),
    "word before the start": (
        _clip(words=(Word(text="so", start_s=-1.0, end_s=0.2),)),
        "word_times",
        "-1.000 to 0.200 s of 2.000 s",
    ),
    "no label": (_clip(emotion=None), "has_a_label", "0"),
    "nobody": (_clip(subject_id=" "), "subject_id_is_given", ""),
    "no licence": (_clip(licence=""), "licence_is_given", ""),
    "valence out of range": (_clip(valence=4.0), "valence_in_range", "4.0"),
    "offset": (_quality(offset_s=7.5), "offset_s_in_range", "7.5"),
    "drift": (_quality(drift_s_per_min=-2.0), "drift_s_per_min_in_range", "-2.0"),
    "drift is not a number": (_quality(drift_s_per_min=float("nan")), "drift_s_per_min_is_known", "nan"),
    "coverage": (_quality(coverage=[("face", 1.5)]), "coverage_face_in_range", "1.5"),
    "nothing covered": (_quality(coverage=[("face", 0.0)]), "best_coverage_in_range", "0.0"),
    "no duration": (_quality(duration_s=0.0), "duration_s_in_range", "0.0"),
    "other content aligned": (_quality(content_sha256="f" * 64), "same_content", "no"),
    "no modality": (_index(keys=[]), "has_a_modality", "0"),
    "a key that is not stored": (_index(keys=[("face", "nowhere")]), "features_are_stored", "face"),
    "other content encoded": (_index(content_sha256="f" * 64), "same_content", "no"),
    "steps": (_index(num_steps=19), "features_fit_the_grid", "face: 20 rows for 19 steps"),
    "not finite": (_features(_one_not_finite), "features_are_finite", "face: 1 values"),
    "constant": (
        _features(lambda encoded: Encoded(np.full_like(encoded.values, 0.5), encoded.valid)),
        "features_are_not_constant",
        "face: every value is 0.5",
    ),
}


# What else is wrong where one thing is.
ALSO = {"coverage": ("best_coverage_in_range",)}


@pytest.fixture(scope="module")
def broken_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, dict[str, str], DatasetValidation]:
    """A dataset in which each case has broken a clip of its own, and which clip that is."""
    tiny = Tiny(clips=tiny_clips(subjects=10))
    clip_ids = {case: change(tiny, position) for position, (case, (change, _, _)) in enumerate(ROWS.items())}
    layout = tiny.write(Layout(tmp_path_factory.mktemp("broken")))
    params = tiny_params(validation=Validation(min_clips=4, min_clips_per_class=1, max_quarantined_fraction=1.0))
    values = STAGES["validation"].values(params)
    judgement = judge(read_upstream(layout, "tiny"), FeatureStore(layout.features("tiny")), Checker(), **values)
    return tiny, clip_ids, judgement


@pytest.mark.parametrize("case", ROWS)
def test_a_broken_row_is_set_aside_with_its_reason(
    case: str, broken_once: tuple[Tiny, dict[str, str], DatasetValidation]
) -> None:
    _, clip_ids, judgement = broken_once
    _, code, seen = ROWS[case]
    rows = {row.code: row for row in judgement.quarantined if row.clip_id == clip_ids[case]}
    assert set(rows) <= {code, *ALSO.get(case, ())}
    row = rows[code]
    assert (row.dataset, row.stage, row.seen) == ("tiny", "validation", seen)
    assert row.allowed
    assert row.remedy
    assert row.field


def test_the_other_rows_go_on(broken_once: tuple[Tiny, dict[str, str], DatasetValidation]) -> None:
    tiny, clip_ids, judgement = broken_once
    accepted = judgement.accepted.column("clip_id").to_pylist()
    assert len(set(clip_ids.values())) == len(ROWS)
    assert accepted == sorted({clip.clip_id for clip in tiny.clips} - set(clip_ids.values()))
    assert not judgement.broken


def test_given_features_may_be_one_number_throughout_and_have_any_name(
    judged: Callable[..., DatasetValidation],
) -> None:
    """A face without any action unit is all zeros; encoded features that are would be a fault."""
    tiny = Tiny(encoders={"face_au": {"spec": "given:4", "fingerprint": "3" * 64, "width": 4}})
    tiny.change_features(0, "face_au", lambda encoded: Encoded(np.zeros_like(encoded.values), encoded.valid))
    bad = tiny.change_features(1, "face_au", _one_not_finite)
    judgement = judged(tiny)
    assert {(row.clip_id, row.code) for row in judgement.quarantined} == {(bad, "features_are_finite")}
    columns = {expectation.expectation.field for outcome in judgement.outcomes for expectation in outcome.judged}
    assert "coverage_face_au" in columns


def test_the_same_recording_under_two_people_is_set_aside(judged: Callable[..., DatasetValidation]) -> None:
    tiny = Tiny()
    first, last = tiny.clips[0], tiny.clips[-1]
    tiny.clips[-1] = replace(last, content_sha256=first.content_sha256)
    tiny.quality[-1]["content_sha256"] = tiny.index[-1]["content_sha256"] = first.content_sha256
    judgement = judged(tiny)
    codes = {(row.clip_id, row.code) for row in judgement.quarantined}
    assert {(first.clip_id, "one_person_a_recording"), (last.clip_id, "one_person_a_recording")} <= codes
    assert (first.clip_id, "one_emotion_a_recording") in codes


def test_a_label_without_alignment_or_features_and_the_reverse(judged: Callable[..., DatasetValidation]) -> None:
    tiny = Tiny()
    not_aligned = tiny.quality.pop(0)["clip_id"]
    not_encoded = tiny.index.pop(1)["clip_id"]
    orphan = tiny.clips.pop(-1).clip_id
    judgement = judged(tiny)
    codes = {(row.clip_id, row.code) for row in judgement.quarantined}
    assert codes == {(not_aligned, "aligned"), (not_encoded, "encoded"), (orphan, "has_clip")}
    assert not {not_aligned, not_encoded, orphan} & set(judgement.accepted.column("clip_id").to_pylist())


def test_a_clip_that_an_earlier_stage_set_aside_keeps_that_reason_only(
    judged: Callable[..., DatasetValidation],
) -> None:
    tiny = Tiny()
    clip_id = tiny.quality[0]["clip_id"]
    tiny.quality[0].update(passed=False, offset_s=99.0)
    tiny.index.pop(0)
    reason = Quarantined(dataset="tiny", clip_id=clip_id, stage="alignment", code="offset", message="far off")
    tiny.quarantined["alignment"] = [reason]
    judgement = judged(tiny)
    assert judgement.quarantined == (reason,)
    assert clip_id not in judgement.accepted.column("clip_id").to_pylist()


def test_a_clip_that_lost_one_modality_is_still_accepted(judged: Callable[..., DatasetValidation]) -> None:
    tiny = Tiny()
    clip_id = tiny.index[0]["clip_id"]
    tiny.index[0]["keys"] = [pair for pair in tiny.index[0]["keys"] if pair[0] != "voice"]
    tiny.quarantined["features"] = [
        Quarantined(dataset="tiny", clip_id=clip_id, stage="features", code="encoder", message="", field="voice")
    ]
    judgement = judged(tiny)
    assert clip_id in judgement.accepted.column("clip_id").to_pylist()
    assert judgement.result(ABAW8)["statistics"]["set_aside"] == 0


def _twice(tiny: Tiny) -> None:
    tiny.clips.append(tiny.clips[0])


def _narrow(tiny: Tiny) -> None:
    tiny.encoders["face"]["width"] = 7


def _stale(tiny: Tiny) -> None:
    tiny.alignment_fingerprint = "b" * 64


def _rare(tiny: Tiny) -> None:
    tiny.change_clip(0, emotion="fear")


CRITICAL: dict[str, tuple[Callable[[Tiny], Any], dict[str, Any], str, str]] = {
    "too few clips": (lambda tiny: None, {"min_clips": 13}, "accepted.min_clips", "seen '12'"),
    "too few people": (lambda tiny: None, {"min_subjects": 5}, "accepted.min_subjects", "seen '4'"),
    "too few of a class": (_rare, {"min_clips_per_class": 2}, "classes.min_clips_per_class", "fear: 1"),
    "too much set aside": (
        lambda tiny: tiny.change_clip(0, emotion="glee"),
        {"max_quarantined_fraction": 0.01},
        "dataset.max_quarantined_fraction",
        "0.0833",
    ),
    "a clip id twice": (_twice, {}, "clips.clip_id_is_unique", "tiny/0-neutral"),
    "another width": (_narrow, {}, "encoders.width_is_as_declared", "width 7.0, stored_width 3.0"),
    "features of an older alignment": (_stale, {}, "dataset.features_of_this_alignment", "bbbb"),
}


@pytest.mark.parametrize("case", CRITICAL)
def test_a_broken_critical_expectation_says_which_and_what_was_seen(
    case: str, judged: Callable[..., DatasetValidation]
) -> None:
    change, thresholds, where, seen = CRITICAL[case]
    tiny = Tiny()
    change(tiny)
    defaults = {"min_clips": 4, "min_subjects": 3, "min_clips_per_class": 1}
    judgement = judged(tiny, tiny_params(validation=Validation(**{**defaults, **thresholds})))
    error = judgement.error("Look here")
    assert isinstance(error, ContractError)
    assert error.exit_code == 4
    assert f"tiny: {where}" in str(error)
    assert seen in str(error)
    assert "Look here" in str(error)
    assert error.remedy
    assert not judgement.result(ABAW8)["success"]


@pytest.mark.parametrize(
    ("folder", "file", "column"),
    [("dataset", "clips", "subject_id"), ("aligned", "quality", "offset_s"), ("features", "index", "keys")],
)
def test_a_missing_column_stops_before_anything_else(
    folder: str, file: str, column: str, judged: Callable[..., DatasetValidation], tmp_path: Path
) -> None:
    tiny = Tiny()
    layout = tiny.write(Layout(tmp_path))
    path = getattr(layout, folder)("tiny") / f"{file}.parquet"
    write_table(path, pq.read_table(path).drop_columns([column]))
    judgement = judged(tiny, layout=layout)
    error = judgement.error("")
    assert "structure.columns_and_types" in str(error)
    assert f"{column}: seen missing" in str(error)
    assert judgement.accepted.num_rows == 0


def test_a_column_of_another_type_stops(judged: Callable[..., DatasetValidation], tmp_path: Path) -> None:
    tiny = Tiny()
    layout = tiny.write(Layout(tmp_path))
    path = layout.features("tiny") / "index.parquet"
    table = pq.read_table(path)
    texts = pa.array([str(value) for value in table.column("num_steps").to_pylist()])
    write_table(path, table.set_column(table.column_names.index("num_steps"), "num_steps", texts))
    assert "features.num_steps: seen text, wanted integer" in str(judged(tiny, layout=layout).error(""))


def test_an_empty_dataset_stops_and_names_all_that_is_broken(judged: Callable[..., DatasetValidation]) -> None:
    error = judged(Tiny(clips=[])).error("")
    assert "accepted.min_clips" in str(error)
    assert "accepted.min_subjects" in str(error)


def test_labels_may_stand_in_segments_alone(judged: Callable[..., DatasetValidation]) -> None:
    halves = (Segment(start_s=0, end_s=1, emotion="calm"), Segment(start_s=1, end_s=2, emotion="anger"))
    tiny = Tiny(clips=[replace(clip, emotion=None, segments=halves) for clip in tiny_clips()])
    judgement = judged(tiny)
    assert judgement.accepted.num_rows == 12
    assert judgement.result(ABAW8)["per_class"] == {"neutral": 12, "anger": 12}


def test_the_result_is_a_pure_function_of_the_tables(judged: Callable[..., DatasetValidation], tmp_path: Path) -> None:
    first = judged(Tiny(), layout=Tiny().write(Layout(tmp_path / "a")))
    shuffled = Tiny()
    for rows in (shuffled.quality, shuffled.index):
        rows.reverse()
    again = judged(shuffled, layout=shuffled.write(Layout(tmp_path / "b")))
    assert first.result(ABAW8) == again.result(ABAW8)
    assert first.accepted.equals(again.accepted)
    changed = Tiny()
    changed.change_clip(0, emotion="fear")
    other = judged(changed, layout=changed.write(Layout(tmp_path / "c")))
    assert other.result(ABAW8)["fingerprint"] != first.result(ABAW8)["fingerprint"]


def test_a_decision_covers_what_was_seen_and_what_may_be_decided(tmp_path: Path) -> None:
    tiny = Tiny()
    late = _quality(offset_s=7.5)(tiny, 0)
    later = _quality(offset_s=9.5)(tiny, 1)
    refused_before = _quality(drift_s_per_min=-2.0)(tiny, 2)
    nobody = tiny.change_clip(3, subject_id="")

    def decided(stage: str, clip_id: str, code: str, seen: str) -> Readmitted:
        names = {"dataset": "tiny", "clip_id": clip_id, "stage": stage, "code": code}
        return Readmitted(**names, how="as_is", seen=seen, reason="heard")  # type: ignore[arg-type]

    here = [
        decided("validation", late, "offset_s_in_range", "7.5"),
        decided("validation", later, "offset_s_in_range", "7.5"),
        decided("validation", nobody, "subject_id_is_given", ""),
    ]
    # What alignment refused as "-2.00 s a minute" and somebody took is not refused here in other words.
    at_alignment = [decided("alignment", refused_before, "drift", "-2.00 s a minute")]
    layout = tiny.write(Layout(tmp_path))
    write_json(layout.decisions("tiny", "validation"), decisions_json(here))
    write_json(layout.decisions("tiny", "alignment"), decisions_json(at_alignment))
    waivers = Waivers(
        here=read_decisions(layout.decisions("tiny", "validation")),
        alignment=read_decisions(layout.decisions("tiny", "alignment")),
    )
    store = FeatureStore(layout.features("tiny"))
    values = STAGES["validation"].values(tiny_params())
    judgement = judge(read_upstream(layout, "tiny"), store, Checker(), waivers=waivers, **values)
    assert {row.clip_id for row in judgement.quarantined} == {later, nobody}
    assert set(judgement.readmitted) == {here[0], *at_alignment}
    assert {late, refused_before} <= set(judgement.accepted.column("clip_id").to_pylist())
