"""What a change costs, by what the stages themselves say they did: clips aligned, clips encoded by modality. And what
it does: who and what is in the catalog afterwards, and that nothing is left of how it came about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json
from components.contracts.config import parse_params
from components.contracts.layout import Layout
from components.datasets.registry import names
from components.features.store import FeatureStore
from pipelines.stages import call_stage
from tests.alignment.media import draw_face, tone, wav, write_clip
from tests.trees import tree_sha256

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PARAMS: dict[str, Any] = {
    "datasets": ["manifest"],
    "manifest": {"table": "recordings/table.jsonl", "licence": "CC0", "consent": "synthetic"},
    "folder": {"root": "sorted", "licence": "CC0", "consent": "synthetic"},
    "alignment": {"face": {"detector": "whole_frame"}, "voice": {"activity": "energy"}, "av_offset": False},
    "features": {"encoders": {"face": "hog", "voice": "signal", "text": "hashing"}},
    "validation": {"min_clips": 3, "min_subjects": 3, "min_clips_per_class": 1},
    "ray": {"num_cpus": 2, "object_store_mb": 128},
}
PEOPLE = ("ann", "bo", "cy")
EMOTIONS = ("anger", "happiness")
NOTHING = {"face": 0, "voice": 0, "text": 0}


def record(folder: Path, person: str, emotion: str) -> dict[str, str]:
    """A recording of somebody with picture, sound and words, and its row of the table; no two are alike."""
    kind = PEOPLE.index(person) if person in PEOPLE else len(PEOPLE)
    smile = 0.2 * kind + 0.1 * EMOTIONS.index(emotion)
    sound = tone(0.5, hz=200 + 200 * smile)
    path = folder / f"{person}_{emotion}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, pictures=[draw_face(96, 96, smile=smile)] * 12, sound=sound)
    return {"video": path.name, "subject": person, "emotion": emotion, "transcript": f"{person} says {emotion}"}


def write_rows(layout: Layout, rows: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (layout.root / "recordings" / "table.jsonl").write_text(text)


def rows_of(layout: Layout) -> list[dict[str, str]]:
    return [json.loads(line) for line in (layout.root / "recordings" / "table.jsonl").read_text().splitlines()]


def encode(layout: Layout, **changes: Any) -> dict[str, dict[str, Any]]:
    """The stages up to the features; dataset → what ran: `aligned` clips, and `encoded` ones by modality."""
    params = parse_params({**PARAMS, **changes}, names())
    ran = {}
    for name in params.datasets:
        call_stage("datasets", params, layout, name)
        aligned = call_stage("alignment", params, layout, name)["aligned_now"]
        ran[name] = {"aligned": aligned, "encoded": call_stage("features", params, layout, name)["encoded"]}
    return ran


def line(layout: Layout, **changes: Any) -> dict[str, dict[str, Any]]:
    """The stages up to the catalog, and what ran."""
    ran = encode(layout, **changes)
    params = parse_params({**PARAMS, **changes}, names())
    for name in params.datasets:
        call_stage("validation", params, layout, name)
    call_stage("catalog", params, layout)
    return ran


def listed(layout: Layout) -> dict[str, str]:
    """Clip id → label, as the catalog has it."""
    rows = pq.read_table(layout.catalog / "catalog.parquet").to_pylist()
    return {row["clip_id"]: row["label"] for row in rows}


def held(layout: Layout, name: str = "manifest") -> dict[str, int]:
    """Modality → clips in the feature store."""
    store = FeatureStore(layout.features(name))
    return {modality: len(store.keys(modality)) for modality in store.modalities()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, dict[str, Any]]:
    """A project after its first run, and what that run did."""
    layout = Layout(tmp_path_factory.mktemp("increment") / "project")
    folder = layout.root / "recordings"
    write_rows(layout, [record(folder, person, emotion) for person in PEOPLE for emotion in EMOTIONS])
    return layout, line(layout)


@pytest.fixture
def project(first: tuple[Layout, dict[str, Any]], tmp_path: Path) -> Layout:
    """A copy of it to change."""
    shutil.copytree(first[0].root, tmp_path / "project")
    return Layout(tmp_path / "project")


def test_the_first_run_does_everything_once_and_the_next_one_nothing(
    first: tuple[Layout, dict[str, Any]], project: Layout
) -> None:
    assert first[1] == {"manifest": {"aligned": 6, "encoded": {"face": 6, "voice": 6, "text": 6}}}
    before = tree_sha256(project.root / "data")
    assert line(project) == {"manifest": {"aligned": 0, "encoded": NOTHING}}
    assert tree_sha256(project.root / "data") == before


def test_new_clips_cost_themselves_and_leave_no_trace_when_they_go(project: Layout) -> None:
    folder, rows = project.root / "recordings", rows_of(project)
    places = [stage("manifest") for stage in (project.dataset, project.aligned, project.features)]
    before = [tree_sha256(place) for place in places]
    write_rows(project, [*rows, record(folder, "dee", "anger")])
    assert encode(project) == {"manifest": {"aligned": 1, "encoded": {"face": 1, "voice": 1, "text": 1}}}
    assert held(project) == {"face": 7, "voice": 7, "text": 7}
    write_rows(project, rows)
    assert encode(project) == {"manifest": {"aligned": 0, "encoded": NOTHING}}
    assert [tree_sha256(place) for place in places] == before


def test_a_deleted_clip_is_gone_and_nothing_is_made_again(project: Layout) -> None:
    *rest, last = rows_of(project)
    (project.root / "recordings" / last["video"]).unlink()
    write_rows(project, rest)
    assert line(project) == {"manifest": {"aligned": 0, "encoded": NOTHING}}
    assert sorted(listed(project)) == sorted(f"manifest/{Path(row['video']).stem}" for row in rest)
    assert held(project) == {"face": 5, "voice": 5, "text": 5}
    aligned = pq.read_table(project.aligned("manifest") / "quality.parquet")["clip_id"].to_pylist()
    assert f"manifest/{Path(last['video']).stem}" not in aligned


def test_another_label_is_in_the_catalog_and_costs_nothing(project: Layout) -> None:
    before, stored = listed(project), tree_sha256(project.features("manifest"))
    row, *rest = rows_of(project)
    write_rows(project, [{**row, "emotion": "happiness"}, *rest])
    assert line(project) == {"manifest": {"aligned": 0, "encoded": NOTHING}}
    assert listed(project) == {**before, "manifest/ann_anger": "happiness"}
    assert tree_sha256(project.features("manifest")) == stored


def test_other_words_cost_that_clip_and_another_name_of_its_file_nothing(project: Layout) -> None:
    row, second, *rest = rows_of(project)
    folder = project.root / "recordings"
    (folder / second["video"]).rename(folder / "renamed.mp4")
    renamed = {**second, "video": "renamed.mp4", "clip_id": Path(second["video"]).stem}
    write_rows(project, [{**row, "transcript": "something else"}, renamed, *rest])
    # Features are addressed by the content of the whole clip, words included.
    assert encode(project) == {"manifest": {"aligned": 1, "encoded": {"face": 1, "voice": 1, "text": 1}}}
    assert held(project) == {"face": 6, "voice": 6, "text": 6}


def test_a_dataset_comes_and_goes_by_itself(project: Layout) -> None:
    before = tree_sha256(project.root / "data")
    for person in PEOPLE:
        for number, emotion in enumerate(EMOTIONS):
            path = project.root / "sorted" / emotion / f"{person}_2" / "one.wav"
            path.parent.mkdir(parents=True)
            wav(path, tone(0.5, 16_000, hz=900 + 100 * PEOPLE.index(person) + 50 * number))
    both = line(project, datasets=["manifest", "folder"])
    assert both["manifest"] == {"aligned": 0, "encoded": NOTHING}
    assert both["folder"] == {"aligned": 6, "encoded": {"face": 0, "voice": 6, "text": 0}}
    assert len(listed(project)) == 12
    assert set(read_json(project.catalog / "catalog.json")["datasets"]) == {"manifest", "folder"}

    line(project, datasets=["manifest"])
    assert {clip_id.partition("/")[0] for clip_id in listed(project)} == {"manifest"}
    # What a model's lineage says of its data comes from here.
    assert set(read_json(project.catalog / "catalog.json")["datasets"]) == {"manifest"}
    # Its own outputs are kept, so that naming it again costs nothing; without them all is as it was.
    assert encode(project, datasets=["folder"]) == {"folder": {"aligned": 0, "encoded": NOTHING}}
    for folder in (project.dataset, project.aligned, project.features, project.validated):
        shutil.rmtree(folder("folder"))
    assert tree_sha256(project.root / "data") == before


def test_another_encoder_costs_its_own_modality(project: Layout) -> None:
    stored = {name: tree_sha256(project.features("manifest") / name) for name in ("face", "voice")}
    encoders = {**PARAMS["features"]["encoders"], "text": "minilm"}
    assert encode(project, features={"encoders": encoders}) == {
        "manifest": {"aligned": 0, "encoded": {**NOTHING, "text": 6}}
    }
    assert {name: tree_sha256(project.features("manifest") / name) for name in stored} == stored
    assert held(project) == {"face": 6, "voice": 6, "text": 6}
