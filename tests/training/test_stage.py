from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.catalog.cases import Case
from components.contracts.atomic import read_json
from components.contracts.config import Runtime
from components.contracts.errors import DataError, ModelError
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.features.transform import Standardisation, Transform
from components.model.files import load_model
from components.model.spec import ModelSpec
from components.tracking.client import client_of
from components.tracking.runs import experiment_id, find_run
from components.tracking.spooled import SpooledRun
from components.training import stage
from components.training.earlier import Taken
from components.training.job import Job, Trained
from components.training.loop import TrainingTask
from components.training.prepare import spec_of
from components.training.trainer import fit
from pipelines.stages import call_stage
from tests.model.toys import CLASSES, WIDTHS, rated, toy_spec
from tests.training.catalogs import CLASSES_AND_ONE, TINY, tiny_params, write_catalog
from tests.training.earlier import write_earlier

OUTPUTS = ["history.json", "model.json", "model.safetensors", "transform.json", "transform.safetensors"]


@pytest.fixture(autouse=True)
def _no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def hashes(layout: Layout) -> dict[str, str]:
    return file_hashes(layout.trained)


def file_hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in folder.iterdir() if path.is_file()}


@pytest.mark.integration
def test_the_stage_writes_a_model_and_tells_mlflow(
    tmp_path: Path, mlflow_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    params = tiny_params(mlflow_uri, "stage")
    params = params.model_copy(update={"runtime": params.runtime.model_copy(update={"profile_steps": 1})})
    summary = call_stage("train", params, layout)
    assert sorted(hashes(layout)) == OUTPUTS
    model = load_model(layout.trained, classes=CLASSES_AND_ONE)
    assert model.spec.absent == ("never",)
    assert dict(model.spec.modalities) == WIDTHS
    assert Transform.load(layout.trained).widths == WIDTHS
    assert len(read_json(layout.trained / "history.json")["epochs"]) == summary["epochs"] == 3
    assert summary["model_sha256"] == file_sha256(layout.trained / "model.safetensors")

    run_id = find_run(params.tracking, tmp_path, summary["model_sha256"])
    client = client_of(params.tracking, tmp_path)
    seen = client.get_run(run_id)
    catalog = read_json(layout.catalog / "catalog.json")
    assert seen.data.params["train.epochs"] == "3"
    assert seen.data.params["seed"] == "7"
    assert seen.data.metrics["model_parameters"] == summary["parameters"]
    assert len(client.get_metric_history(run_id, "held_out_clip_macro_f1")) == 3
    assert seen.data.metrics["steps_per_s"] > 0
    assert seen.data.metrics["time/forward_s"] > 0
    assert re.search(r"train: \d+ s: .*backward [\d.]+%.*data wait", capsys.readouterr().err)
    assert seen.data.tags["lineage.data_sha256"] == catalog["sha256"]
    assert seen.data.tags["lineage.dataset.toy"] == catalog["datasets"]["toy"]
    assert seen.data.tags["gx.toy.success"] == "true"
    assert seen.data.tags["gx.toy.fingerprint"] == "f1"
    (given,) = seen.inputs.dataset_inputs
    assert given.dataset.digest == catalog["datasets"]["toy"][:32]
    artifacts = {artifact.path for artifact in client.list_artifacts(run_id)}
    assert {"history.json", "model.json", "plots", "data_docs"} <= artifacts
    # Nine steps are too few for a trace: nothing is written, and nothing promised.
    assert not layout.profile.exists()
    assert seen.data.tags["mer.data_docs"] == "data_docs/index.html"
    link = f"#/experiments/{seen.info.experiment_id}/runs/{run_id}/artifacts/data_docs/index.html"
    assert f"[Data Docs]({link})" in seen.data.tags["mlflow.note.content"]


@pytest.mark.integration
def test_a_trace_is_kept_and_in_the_run(tmp_path: Path, mlflow_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    params = tiny_params(mlflow_uri, "stage-trace", epochs=5)
    params = params.model_copy(update={"runtime": params.runtime.model_copy(update={"profile_steps": 1})})
    summary = call_stage("train", params, layout)
    kept = layout.profile / "train.json"
    named = [event["name"] for event in read_json(kept)["traceEvents"] if event.get("cat") == "user_annotation"]
    assert named.count("forward") == named.count("backward") == 1
    assert f"train: its trace is in {kept}" in capsys.readouterr().err
    client = client_of(params.tracking, tmp_path)
    run_id = find_run(params.tracking, tmp_path, summary["model_sha256"])
    (artifact,) = client.list_artifacts(run_id, "profile")
    assert (artifact.path, artifact.file_size) == ("profile/train.json", kept.stat().st_size)


@pytest.mark.integration
def test_equal_inputs_give_equal_bytes_also_after_an_interruption(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Layout(tmp_path / "one"), Layout(tmp_path / "other")
    params = tiny_params(mlflow_uri, "stage-determinism")
    for layout in (one, other):
        write_catalog(layout)
    call_stage("train", params, one)
    log = SpooledRun.metrics

    def stop(self: SpooledRun, values: Mapping[str, float], *, step: int = 0) -> None:
        log(self, values, step=step)
        if step == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SpooledRun, "metrics", stop)
        with pytest.raises(KeyboardInterrupt):
            call_stage("train", params, other)
    assert not other.trained.exists()
    # Clips that memory does not hold are read from disk: the training that goes on has the same bits.
    params = params.model_copy(update={"runtime": params.runtime.model_copy(update={"clips_mb": 0})})
    summary = call_stage("train", params, other)
    assert len(list(other.packed.glob("*/clips.bin"))) == 1
    assert hashes(one) == hashes(other)
    client = client_of(params.tracking, other.root)
    runs = client.search_runs([experiment_id(client, params.tracking, other.root)])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED"]
    resumed = client.get_metric_history(find_run(params.tracking, other.root, summary["model_sha256"]), "loss")
    assert [metric.step for metric in resumed] == [0, 1, 2]
    assert list((other.state / "train").iterdir()) == []


@pytest.mark.integration
def test_it_starts_from_an_earlier_version_and_says_so(tmp_path: Path, mlflow_uri: str) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    params = tiny_params(mlflow_uri, "stage-start", start_from="starter", epochs=1, learning_rate=1e-9, refit=True)
    with pytest.raises(ModelError, match="`mer inputs` writes it"):
        call_stage("train", params, layout)
    spec = ModelSpec(modalities={**WIDTHS, "physio": 3}, classes=("neutral", *CLASSES), model=params.model)
    write_earlier(layout.start, spec)
    summary = call_stage("train", params, layout)
    words = f"starter (bundle {'ab' * 6}): face, voice, text and 8 classes taken over"
    assert summary["started_from"] == words
    taken = Taken.read(layout.started)
    assert taken is not None
    assert taken.words == words
    assert Transform.load(layout.trained).modalities["face"].mean.tolist() == [1.0] * WIDTHS["face"]
    before = load_file(layout.start / "model.safetensors")
    for folder in (layout.trained, layout.trained_first):
        after = load_file(folder / "model.safetensors")
        assert torch.allclose(after["step_head.out.weight"][:8], before["step_head.out.weight"][1:], atol=1e-4)
        assert torch.allclose(after["encoders.face.project.weight"], before["encoders.face.project.weight"], atol=1e-4)
    run = client_of(params.tracking, tmp_path).get_run(find_run(params.tracking, tmp_path, summary["model_sha256"]))
    assert run.data.tags["mer.started_from"] == "ab" * 32
    assert run.data.tags["mer.started_from.corpora"] == "before (recorded)"


@pytest.mark.integration
def test_a_model_that_is_trained_again_stands_beside_the_first(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, refitted, stopped = (Layout(tmp_path / name) for name in ("plain", "refitted", "stopped"))
    for layout in (plain, refitted, stopped):
        write_catalog(layout)
    call_stage("train", tiny_params(mlflow_uri, "stage-refit"), plain)
    params = tiny_params(mlflow_uri, "stage-refit", refit=True)
    summary = call_stage("train", params, refitted)
    first, final = file_hashes(refitted.trained_first), hashes(refitted)
    assert sorted(final) == OUTPUTS
    assert first == {name: value for name, value in hashes(plain).items() if name in first}
    assert sorted(first) == ["history.json", "model.json", "model.safetensors"]
    assert final["model.safetensors"] != first["model.safetensors"]
    assert final["transform.safetensors"] == hashes(plain)["transform.safetensors"]
    assert summary["clips"] == 2 * summary["clips_first"] == 2 * TINY.clips
    epochs = read_json(refitted.trained / "history.json")["epochs"]
    assert len(epochs) == 3
    # Nobody is held out of the second training, so it has no score on people it does not know.
    assert not any("held_out" in name for epoch in epochs for name in epoch)
    client = client_of(params.tracking, tmp_path)
    run_id = find_run(params.tracking, refitted.root, summary["model_sha256"])
    assert len(client.get_metric_history(run_id, "loss")) == len(client.get_metric_history(run_id, "refit_loss")) == 3
    assert "first" in {artifact.path for artifact in client.list_artifacts(run_id)}

    # Stopped in the second training, it goes on there and ends with the same bytes.
    log, begun = SpooledRun.metrics, []

    def stop(self: SpooledRun, values: Mapping[str, float], *, step: int = 0) -> None:
        log(self, values, step=step)
        if step == 1 and "refit_loss" in values:
            raise KeyboardInterrupt

    def watched(job: Job, folder: Path, **given: Any) -> Trained:
        begun.append([case.clip_id for case in job.items("train")])
        return fit(job, folder, **given)

    with monkeypatch.context() as patch:
        patch.setattr(SpooledRun, "metrics", stop)
        with pytest.raises(KeyboardInterrupt):
            call_stage("train", params, stopped)
    assert not stopped.trained.exists()
    monkeypatch.setattr(stage, "fit", watched)
    call_stage("train", params, stopped)
    assert [len(learned) for learned in begun] == [2 * TINY.clips]
    assert not any("/test/" in clip_id for clip_id in begun[0])
    assert hashes(stopped) == final
    assert file_hashes(stopped.trained_first) == first

    # Switched off again, nothing is left that would be taken for the first of two models.
    call_stage("train", tiny_params(mlflow_uri, "stage-refit"), refitted)
    assert not refitted.trained_first.exists()
    assert hashes(refitted) == hashes(plain)


def test_a_head_is_made_for_what_is_rated_and_compared() -> None:
    catalog = {"classes": CLASSES_AND_ONE}
    items = TINY.items()
    fitted = Transform(
        modalities={
            name: Standardisation(mean=np.zeros(width), std=np.ones(width), steps=1) for name, width in WIDTHS.items()
        }
    )

    def heads(items: list[Case], **train: object) -> tuple[bool, int]:
        params = tiny_params("sqlite://", "none", **train)
        spec = spec_of(catalog, fitted, items, model=params.model, train=params.train)
        return spec.valence_arousal, spec.embedding

    assert heads(items) == (False, 0)
    assert heads(rated(items)) == (True, 0)
    assert heads(rated(items), valence_arousal_loss=0) == (False, 0)
    # Arousal that nobody rated is not told either.
    assert heads([replace(item, valence_arousal=(0.5, float("nan"))) for item in items]) == (False, 0)
    assert heads(items, contrastive_loss=0.1) == (False, 384)


def test_workers_that_would_never_have_a_clip_are_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def used(clips: int, *, windows: bool = False, **runtime: int) -> tuple[int, int | None]:
        params = tiny_params("sqlite://", "none", batch_clips=8, windows=windows)
        task = TrainingTask(spec=toy_spec(window_s=0.6, stride_s=0.2), train=params.train, seed=0)
        job = Job(task=task, items=replace(TINY, clips=clips, steps=(10, 10), missing=0.0).items, inputs_sha256="x")
        useful = stage._useful(Runtime(**runtime), stage._Round(job=job, clips=clips, folder=tmp_path))
        return useful.workers, useful.min_workers

    assert used(16, workers=8, min_workers=2) == (8, 2)
    assert used(2, windows=True, workers=6) == (6, None)  # three windows of each
    assert used(3, workers=0) == (0, None)
    assert capsys.readouterr().err == ""
    assert used(16, workers=9) == (8, None)
    assert used(3, workers=64, min_workers=5) == (3, 3)
    assert "train: 3 workers instead of 64, since a batch has 3 clips" in capsys.readouterr().err
    assert used(2, windows=True, workers=7) == (6, None)
    assert "train: 6 workers instead of 7, since a batch has 6 windows" in capsys.readouterr().err
    assert used(16, windows=True, workers=9) == (8, None)
    assert "since a batch has 8 windows" in capsys.readouterr().err


@pytest.mark.integration
def test_the_stage_asks_for_no_more_workers_than_have_a_clip(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    write_catalog(layout)
    params = tiny_params(mlflow_uri, "stage-workers", epochs=1)
    asked = []

    def here(job: Job, folder: Path, *, runtime: Runtime, **given: Any) -> Trained:
        asked.append(runtime.workers)
        return fit(job, folder, runtime=params.runtime, **given)

    monkeypatch.setattr(stage, "fit", here)
    call_stage("train", params.model_copy(update={"runtime": Runtime(workers=64)}), layout)
    assert asked == [params.train.batch_clips]


def test_without_a_catalog_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no catalog to train on.*Run the catalog stage"):
        call_stage("train", tiny_params("sqlite://", "none"), Layout(tmp_path))
