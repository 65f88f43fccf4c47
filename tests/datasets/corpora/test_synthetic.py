from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.contracts.config import Params
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.contracts.records import Clip, clips_of
from components.datasets.corpora.synthetic import Synthetic, SyntheticOptions, render_missing
from components.datasets.synthetic.media import MediaNames
from components.datasets.synthetic.plan import ClipPlan, plan_corpus
from pipelines.stages import call_stage
from tests.trees import tree_sha256

SMALL = {"subjects": 2, "clips_per_subject": 3, "picture_px": 128, "processes": 1}


def small(**changes: object) -> Params:
    return Params(datasets=("synthetic",), sources={"synthetic": {**SMALL, **changes}})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("project"))
    call_stage("datasets", small(), layout, "synthetic")
    return layout


def clips(layout: Layout) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in clips_of(pq.read_table(layout.dataset("synthetic") / "clips.parquet"))}


def test_a_clip_row_has_everything_and_its_files_are_there(project: Layout) -> None:
    found = clips(project)
    assert list(found) == [f"synthetic/s00{subject}_c0{clip}" for subject in range(2) for clip in range(3)]
    for clip in found.values():
        for path in (clip.video_path, clip.audio_path, clip.physio_path):
            assert path is None or (project.root / path).is_file()
        assert clip.consent == "synthetic"
        assert clip.licence.startswith("CC0")
        assert set(clip.groups) == {"gender", "age_band"}
        assert clip.emotion is not None
        assert clip.valence is not None
        assert -1 <= clip.valence <= 1
    assert len({clip.content_sha256 for clip in found.values()}) == len(found)


def test_two_processes_render_the_same_bytes_as_one(project: Layout, tmp_path: Path) -> None:
    call_stage("datasets", small(processes=2), Layout(tmp_path), "synthetic")
    assert tree_sha256(tmp_path / "data") == tree_sha256(project.root / "data")


def test_adding_a_subject_renders_that_subject_only_and_keeps_the_rest(project: Layout) -> None:
    folder = project.dataset("synthetic") / "media"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}
    rows = clips(project)
    call_stage("datasets", small(subjects=3), project, "synthetic")
    after = {path: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}
    assert before.items() <= after.items()
    assert len(clips(project)) == 9
    assert rows.items() <= clips(project).items()
    call_stage("datasets", small(), project, "synthetic")
    assert set(folder.glob("*.mp4")) == set(before)  # what no plan asks for is removed


def test_a_damaged_file_is_rendered_again_and_others_are_not(plans: list[ClipPlan], tmp_path: Path) -> None:
    few = plans[:2]
    assert render_missing(few, tmp_path, processes=1) == 2
    assert render_missing(few, tmp_path, processes=1) == 0
    victim = tmp_path / str(MediaNames.of(few[0]).video)
    whole = file_sha256(victim)
    victim.write_bytes(victim.read_bytes()[:100])
    assert render_missing(few, tmp_path, processes=1) == 1
    assert file_sha256(victim) == whole


def test_words_are_missing_only_where_that_is_planted(project: Layout) -> None:
    plans = plan_corpus(seed=7, subjects=24, clips_per_subject=8, picture_px=128)
    from components.datasets.corpora.synthetic import clip_of

    for plan in plans:
        clip = clip_of(plan, Path("media"))
        assert (clip.transcript is None) == (plan.flaw == "no_words")
        assert (clip.words == ()) == (plan.flaw == "no_words")
        assert (clip.video_path is None) == (plan.flaw == "no_picture")
        assert (clip.physio_path is None) == (plan.flaw == "no_physio")


def test_the_default_corpus_is_the_documented_one() -> None:
    options = SyntheticOptions()
    assert (options.subjects, options.clips_per_subject, options.picture_px) == (24, 8, 256)
    assert Synthetic().options({}) == options
