"""RAVDESS in all its containers, from files to features: which modalities each clip has, and what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.alignment.shards import clips_of
from components.contracts.layout import Layout
from components.contracts.records import Clip
from components.contracts.records import clips_of as rows_of
from pipelines.stages import call_stage
from tests.integration.corpora import params_of, project, record
from tests.trees import tree_sha256

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NAME = "ravdess"
FILES = (
    "01-01-03-01-01-01-01.mp4",  # one performance in its three versions
    "02-01-03-01-01-01-01.mp4",
    "03-01-03-01-01-01-01.wav",
    "02-01-05-01-02-01-02.mp4",  # picture alone
    "03-01-04-01-01-01-03.wav",  # sound alone
    "03-01-01-01-01-01-04.flac",
    "02-01-08-01-02-02-05.mp4",  # picture and sound of one performance, in two files
    "03-01-08-01-02-02-05.flac",
    "01-02-02-01-01-01-01.mp4",  # song
    "03-02-05-01-01-01-02.wav",
)
EMOTIONS = {
    "01-01-03-01-01-01-01": "happiness",
    "02-01-05-01-02-01-02": "anger",
    "02-01-08-01-02-02-05": "surprise",
    "03-01-01-01-01-01-04": "neutral",
    "03-01-04-01-01-01-03": "sadness",
}
SONG = {"01-02-02-01-01-01-01": "calm", "03-02-05-01-01-01-02": "anger"}
# The words are scripted, so every performance has them, heard or not.
MODALITIES = {
    "01-01-03-01-01-01-01": {"face", "voice", "text"},
    "02-01-05-01-02-01-02": {"face", "text"},
    "02-01-08-01-02-02-05": {"face", "voice", "text"},
    "03-01-01-01-01-01-04": {"voice", "text"},
    "03-01-04-01-01-01-03": {"voice", "text"},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings, outside the project as a downloaded corpus is."""
    folder = tmp_path_factory.mktemp("downloads") / "RAVDESS"
    for name in FILES:
        record(folder, name)
    return folder


@pytest.fixture(scope="module")
def layout(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project whose clips are listed and aligned with the options a fresh section has."""
    layout = project(tmp_path_factory.mktemp("project"), ravdess={"root": str(corpus)})
    line(layout)
    return layout


def line(layout: Layout, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first two stages; their summaries."""
    params = params_of(layout)
    section = {**params.sources[NAME], **options}
    params = params.model_copy(update={"sources": {NAME: section}})
    return call_stage("datasets", params, layout, NAME), call_stage("alignment", params, layout, NAME)


def listed(layout: Layout) -> dict[str, Clip]:
    clips = rows_of(pq.read_table(layout.dataset(NAME) / "clips.parquet"))
    return {clip.clip_id.removeprefix("ravdess/"): clip for clip in clips}


def coverage(layout: Layout) -> dict[str, dict[str, float]]:
    return {
        clip.clip_id.removeprefix("ravdess/"): {name: share for name, share in clip.quality.coverage.items() if share}
        for clip in clips_of(layout.aligned(NAME))
    }


def test_labels_and_people_come_from_the_names(layout: Layout) -> None:
    clips = listed(layout)
    assert {name: clip.emotion for name, clip in clips.items()} == EMOTIONS
    assert {name: clip.subject_id for name, clip in clips.items()} == {
        name: f"ravdess/{name[-2:]}" for name in EMOTIONS
    }


def test_each_clip_has_the_modalities_of_its_files(layout: Layout) -> None:
    found = coverage(layout)
    assert {name: set(shares) for name, shares in found.items()} == MODALITIES
    for name, shares in found.items():
        assert min(shares.values()) > 0.85, name
    assert pq.read_table(layout.aligned(NAME) / "quarantine.parquet").num_rows == 0


def test_every_file_is_used_or_its_absence_is_said(layout: Layout, corpus: Path) -> None:
    summary, _ = line(layout)
    clips = listed(layout)
    used = {path for clip in clips.values() for path in (clip.video_path, clip.audio_path) if path}
    assert used < {str(path) for path in corpus.rglob("*.*")}
    assert len(used) == 6
    assert summary["notes"] == [
        "1 audio song files left out by the options",
        "1 audio-video song files left out by the options",
        "2 picture-only or sound-only files not used: the same performance exists with both",
        "1 performances joined from a picture-only and a sound-only file",
    ]
    assert len(FILES) == len(used) + 1 + 1 + 2


def test_the_three_versions_agree_when_each_counts(corpus: Path, tmp_path: Path) -> None:
    layout = project(tmp_path, ravdess={"root": str(corpus)})
    line(layout, one_clip_per_performance=False)
    assert len(listed(layout)) == len(FILES) - len(SONG)
    clips = {clip.clip_id.removeprefix("ravdess/"): clip for clip in clips_of(layout.aligned(NAME))}
    both, picture, sound = (clips[f"0{kind}-01-03-01-01-01-01"] for kind in (1, 2, 3))
    assert set(coverage(layout)["02-01-03-01-01-01-01"]) == {"face", "text"}
    assert set(coverage(layout)["03-01-03-01-01-01-01"]) == {"voice", "text"}
    steps = min(clip.grid.num_steps for clip in (both, picture, sound))
    assert both.face_jpeg[:steps] == picture.face_jpeg[:steps]
    assert (both.masks["voice"][:steps] == sound.masks["voice"][:steps]).all()


def test_song_comes_when_asked_for_and_leaves_no_trace_when_not(corpus: Path, tmp_path: Path) -> None:
    layout = project(tmp_path, ravdess={"root": str(corpus)})
    params = params_of(layout)
    line(layout)
    first = call_stage("features", params, layout, NAME)
    assert first["clips_with"] == {"face": 3, "text": 5, "voice": 4}
    index = pq.read_table(layout.features(NAME) / "index.parquet").to_pylist()
    assert {row["clip_id"].removeprefix("ravdess/"): set(dict(row["keys"])) for row in index} == MODALITIES
    before = tree_sha256(layout.root / "data")

    line(layout, channels=["speech", "song"])
    clips = listed(layout)
    assert {name: clip.emotion for name, clip in clips.items()} == EMOTIONS | SONG
    assert {clips[name].groups["channel"] for name in SONG} == {"song"}
    assert {clips[name].session_id for name in SONG} == {"ravdess/01/song", "ravdess/02/song"}
    assert call_stage("features", params, layout, NAME)["encoded"] == {"face": 1, "text": 2, "voice": 2}

    line(layout)
    assert sum(call_stage("features", params, layout, NAME)["encoded"].values()) == 0
    assert tree_sha256(layout.root / "data") == before
