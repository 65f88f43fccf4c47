"""A folder of features through every stage, from its table to a registered version, and that version on a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.catalog.examples import load_examples
from components.contracts.atomic import read_json
from components.contracts.config import parse_params
from components.contracts.labels import UNLABELLED
from components.contracts.layout import Layout
from components.datasets.registry import names
from components.registry.bundle import load_bundle
from components.serving.clips import clip_of_file
from components.serving.predictor import Predictor
from pipelines.stages import call_stage
from tests.datasets.feature_folders import EMOTIONS, separable, write_features
from tests.serving import media

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

NAME = "feature_table"
SUBJECTS, CLIPS, DIALOGUES, TURNS = 9, 6, 9, 5
RATES = {"face_au": 25.0, "prosody": 25.0}
STEPS = 40  # 1.6 s at 25 Hz


def corpus(folder: Path) -> Path:
    """Clips over time of nine people, and untimed dialogues of further ones, a vector an utterance."""
    table, arrays = separable(SUBJECTS, CLIPS, steps=STEPS)
    rng = np.random.default_rng(1)
    lines = [f"{line}," for line in table.splitlines()[1:]]
    for dialogue in range(DIALOGUES):
        for turn in range(TURNS):
            emotion = (dialogue + turn) % len(EMOTIONS)
            name = f"d{dialogue}_u{turn}"
            lines.append(f"{name},q{dialogue}_{turn % 2},{EMOTIONS[emotion]},,d{dialogue}")
            values = rng.standard_normal((1, 4))
            values[:, emotion] += 3.0
            arrays["prosody"][name] = values.astype(np.float32)
    arrays["face_au"]["p00_c0"][7] = np.nan
    head = "clip_id,subject_id,label,group_gender,sequence_id"
    return write_features(folder, "\n".join((head, *lines)) + "\n", arrays, rates=RATES)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Layout]:
    """The bundle of a project after its last stage, and the project. Nothing in it needs Ray."""
    layout = Layout(tmp_path_factory.mktemp("features-only"))
    corpus(layout.root / "sets")
    params = parse_params(
        {
            "datasets": [NAME],
            NAME: {"root": "sets"},
            "validation": {"min_clips": 4, "min_clips_per_class": 1},
            "train": {"epochs": 8},
            "runtime": {"workers": 0},
            "model": {"width": 16, "heads": 2, "tcn_blocks": 1},
            "evaluate": {"bootstrap": 20, "timelines": 2},
            "tracking": {"uri": f"sqlite:///{layout.root / 'mlflow.db'}", "artifacts": str(layout.root / "artifacts")},
        },
        names(),
    )
    for stage in ("datasets", "alignment", "features", "validation"):
        call_stage(stage, params, layout, NAME)
    for stage in ("catalog", "train", "evaluate"):
        call_stage(stage, params, layout)
    return layout.root / call_stage("register", params, layout)["bundle"], layout


def test_every_clip_comes_through_with_what_it_brings(line: tuple[Path, Layout]) -> None:
    _, layout = line
    rows = pq.read_table(layout.catalog / "catalog.parquet").to_pylist()
    keys = {row["clip_id"].partition("/")[2]: {name for name, _ in row["keys"]} for row in rows}
    assert len(keys) == SUBJECTS * CLIPS + DIALOGUES
    assert keys["p00_c0"] == {"prosody"}
    assert keys["p00_c1"] == {"face_au", "prosody"}
    assert keys["d0"] == {"prosody"}
    described = read_json(layout.catalog / "catalog.json")
    assert {name: entry["spec"] for name, entry in described["encoders"].items() if name in RATES} == {
        "face_au": "given:6",
        "prosody": "given:4",
    }
    assert described["subject_disjoint"]
    [set_aside] = pq.read_table(layout.dataset(NAME) / "quarantine.parquet").to_pylist()
    assert set_aside["clip_id"] == f"{NAME}/p00_c0"
    assert "the first at step 7 (0.28 s)" in set_aside["message"]


def test_a_dialogue_is_one_clip_with_a_label_at_every_utterance(line: tuple[Path, Layout]) -> None:
    _, layout = line
    classes = read_json(layout.catalog / "catalog.json")["classes"]
    examples = {example.clip_id.partition("/")[2]: example for example in load_examples(layout)}
    dialogue = examples["d1"]
    assert [classes[label] for label in dialogue.step_labels] == [EMOTIONS[(1 + turn) % 3] for turn in range(TURNS)]
    assert dialogue.clip_label == UNLABELLED
    assert dialogue.subject_id == f"{NAME}/q1_0+q1_1"
    assert examples["p00_c1"].num_steps == round(STEPS / RATES["face_au"] * 10)


def test_the_model_learns_from_them(line: tuple[Path, Layout]) -> None:
    _, layout = line
    metrics = read_json(layout.evaluated / "metrics.json")
    best, majority = metrics["subsets"]["face_au+prosody"], metrics["baselines"]["majority"]
    assert best["macro_f1"]["value"] > majority["macro_f1"]["value"] + 0.2


def test_the_version_reads_utterances_in_all_ways_as_they_were_weighed(line: tuple[Path, Layout]) -> None:
    bundle = load_bundle(line[0])
    assert bundle.spec.utterances
    assert set(bundle.calibration.step_ways) == {"statistics", "temporal", "product"}
    assert sum(bundle.calibration.step_ways.values()) == pytest.approx(1.0)


def test_a_video_without_them_gets_no_emotion_and_a_reason(line: tuple[Path, Layout], tmp_path: Path) -> None:
    bundle, _ = line
    predictor = Predictor(load_bundle(bundle))
    clip = clip_of_file(media.video(tmp_path / "clip.mp4", seconds=1.0), predictor.guard)
    answer = predictor.predict(clip)
    assert answer.presence == {"face_au": 0.0, "prosody": 0.0}
    assert answer.emotion is None
    assert "face_au: absent from this clip; this version needs its features ready-made" in answer.notes
    assert answer.outside_training.words == (
        "There is no answer: the clip has nothing that this version was trained on (face_au, prosody)."
    )
