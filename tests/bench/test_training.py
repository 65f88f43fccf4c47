from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.report import Comparison
from bench.training import checkpoint, corpus_size, evaluation_size, logged
from bench.training.made import MadeClips, write_catalog
from components.catalog.packed import read_examples
from components.contracts.config import Tracking
from components.contracts.layout import Layout
from components.tracking.client import client_of
from components.tracking.runs import experiment_id


def test_a_catalog_has_the_features_of_a_few_clips_over_and_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout, clips=7, distinct=3, steps=6)
    examples = read_examples(layout, "train", memory_mb=0)
    assert len(examples) == 7
    for index in range(3, 7):
        for name, encoded in examples[index].encoded.items():
            np.testing.assert_array_equal(encoded.values, examples[index - 3].encoded[name].values)
    assert not np.array_equal(examples[0].encoded["voice"].values, examples[1].encoded["voice"].values)


def test_clips_are_the_same_in_each_process_and_none_is_held_out() -> None:
    made = MadeClips(clips=2, steps=4, widths={"voice": 3})
    np.testing.assert_array_equal(made("train")[1].features["voice"], made("train")[1].features["voice"])
    assert made("calibration") == []


def test_a_training_from_disk_is_measured(tmp_path: Path) -> None:
    write_catalog(Layout(tmp_path), clips=8, distinct=4, steps=6)
    figures = corpus_size.measure(tmp_path, 2)
    assert figures.keys() == {"clip_s", "data_wait", "made_s", "peak_bytes"}
    assert all(value >= 0 for value in figures.values())
    assert figures["clip_s"] > 0


def test_the_share_of_a_checkpoint_is_of_epochs_that_wrote_one(tmp_path: Path) -> None:
    (row,) = checkpoint.run(checkpoint.Sizes(clips=4, steps=4, pairs=1), tmp_path)
    assert isinstance(row, Comparison)
    assert row.baseline.amount > 0
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_an_evaluation_from_disk_is_measured(tmp_path: Path) -> None:
    splits = (*["train"] * 6, "calibration", "test")
    write_catalog(Layout(tmp_path), clips=24, distinct=8, steps=6, names=("voice",), splits=splits)
    assert [len(read_examples(Layout(tmp_path), split, memory_mb=0)) for split in dict.fromkeys(splits)] == [18, 3, 3]
    figures = evaluation_size.measure(tmp_path)
    assert figures.keys() == {"peak_bytes", "cpu_s"}
    assert figures["peak_bytes"] > 0
    assert (Layout(tmp_path).evaluated / "metrics.json").is_file()


@pytest.mark.integration
def test_the_share_of_logging_is_of_trainings_that_are_in_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (row,) = logged.run(logged.Sizes(clips=4, steps=4, epochs=2, pairs=1), tmp_path)
    assert isinstance(row, Comparison)
    assert row.baseline.amount > 0
    tracking = Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", experiment="logged")
    client = client_of(tracking, tmp_path)
    (run,) = client.search_runs([experiment_id(client, tracking, tmp_path)])
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in losses] == list(range(4))  # the warm-up, and one
