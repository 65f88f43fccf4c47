"""A table of sentences with two classes of one's own, through every stage to a served answer."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json
from components.contracts.config import parse_params
from components.contracts.errors import ModelError
from components.contracts.labels import Taxonomy
from components.contracts.layout import Layout
from components.contracts.records import clips_of
from components.datasets.registry import names
from components.evaluation.abaw import order_of
from components.features import stage as features
from components.registry.bundle import load_bundle
from components.serving.predictor import Predictor
from pipelines.stages import call_stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SAID = {
    "froh": "what a wonderful sunny happy day",
    "Begeistert": "this is great and I love it",
    "excited": "we won the game at last",
    "traurig": "I miss you and I cry",
    "genervt": "stop this awful noise right now",
}
OWN = {"gut gelaunt": ["froh", "begeistert", "excitement"], "schlecht gelaunt": ["traurig", "genervt"]}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Path]:
    layout = Layout(tmp_path_factory.mktemp("own"))
    rows = [
        (f"{person}-{mood}", f"p{person}", mood, SAID[mood], split)
        for person, split in enumerate(("train",) * 4 + ("dev",) * 2 + ("test",) * 2)
        for mood in SAID
    ]
    rows += [("typo", "p0", "frohh", "hm", "train"), ("none", "p0", "unklar", "well", "train")]
    with (layout.root / "said.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("clip_id", "subject", "emotion", "transcript_file", "split"))
        for name, person, mood, text, split in rows:
            writer.writerow((name, person, mood, f"{name}.srt", split))
            (layout.root / f"{name}.srt").write_text(f"1\n00:00:00,000 --> 00:00:02,000\n{text} says {person}\n")
    params = parse_params(
        {
            "datasets": ["manifest"],
            "manifest": {"table": "said.csv", "licence": "CC0", "consent": "written for this test"},
            "labels": {"taxonomy": OWN, "left_out": ["unklar"]},
            "catalog": {"use_corpus_splits": True},
            "features": {"encoders": {"text": "hashing"}, "actors": 1},
            "validation": {"min_clips": 4, "min_clips_per_class": 1},
            "train": {"epochs": 6},
            "runtime": {"workers": 0},
            "model": {"width": 16, "heads": 2, "tcn_blocks": 1},
            "evaluate": {"bootstrap": 20, "timelines": 1},
            "tracking": {"uri": f"sqlite:///{layout.root / 'mlflow.db'}", "artifacts": str(layout.root / "artifacts")},
        },
        names(),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "IN_PROCESS_CLIPS", 1_000)  # hashing words needs no Ray
        for stage in ("datasets", "alignment", "features", "validation"):
            call_stage(stage, params, layout, "manifest")
    for stage in ("catalog", "train", "evaluate"):
        call_stage(stage, params, layout)
    return layout, layout.root / call_stage("register", params, layout)["bundle"]


def test_labels_are_known_by_mapping_by_synonym_or_refused_with_the_way_to_map_them(line: tuple[Layout, Path]) -> None:
    layout, _ = line
    [typo] = pq.read_table(layout.dataset("manifest") / "quarantine.parquet").to_pylist()
    assert (typo["code"], typo["seen"]) == ("unknown-emotion", "frohh")
    assert typo["remedy"].startswith("Did you mean 'froh'? Map it: `labels: {taxonomy: {CLASS: [frohh")
    clips = pq.read_table(layout.dataset("manifest") / "clips.parquet").to_pylist()
    assert {clip["emotion"] for clip in clips} == {
        "froh", "begeistert", "excitement", "traurig", "genervt", "unklar",
    }  # fmt: skip
    catalog = read_json(layout.catalog / "catalog.json")
    assert catalog["classes"] == list(OWN)
    assert [clip["clip_id"] for clip in catalog["left_out"]] == ["manifest/none"]


def test_the_report_and_the_bundle_have_the_classes_and_serving_needs_no_configuration(
    line: tuple[Layout, Path],
) -> None:
    layout, folder = line
    assert set(read_json(layout.evaluated / "metrics.json")["per_class"]) == set(OWN)
    assert "gut gelaunt" in (layout.evaluated / "plots" / "per-class.csv").read_text()
    bundle = load_bundle(folder)
    assert Taxonomy.from_json(bundle.description.taxonomy).class_of("traurig") == "schlecht gelaunt"
    table = pq.read_table(layout.dataset("manifest") / "clips.parquet")
    clip = next(clip for clip in clips_of(table) if clip.clip_id == "manifest/7-froh")
    answer = Predictor(bundle, root=layout.root).predict(clip)
    assert answer.emotion == "gut gelaunt"
    assert list(answer.posterior) == list(OWN)
    with pytest.raises(ModelError, match="the classes of the challenge"):
        order_of(bundle.classes)
