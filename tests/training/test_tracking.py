from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.contracts.config import Tracking
from components.contracts.errors import ModelError
from components.training.job import Epoch
from components.training.tracking import (
    INPUTS_TAG,
    MODEL_TAG,
    client_of,
    experiment_id,
    find_run,
    flatten,
    open_run,
    tracking_uri,
)


def test_the_environment_wins_and_relative_paths_are_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(Tracking(), tmp_path) == f"sqlite:///{tmp_path}/.mer/mlflow.db"
    assert (tmp_path / ".mer").is_dir()
    assert tracking_uri(Tracking(uri="sqlite:////else/where.db"), tmp_path) == "sqlite:////else/where.db"
    assert tracking_uri(Tracking(uri="http://tracking:5000"), tmp_path) == "http://tracking:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:1")
    assert tracking_uri(Tracking(), tmp_path) == "http://other:1"


def test_flatten_names_by_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": (1, 2)}}, "e": None, "f": {}}) == {"a.b": 1, "a.c.d": (1, 2), "e": None}


@pytest.fixture
def tracking(mlflow_uri: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracking(uri=mlflow_uri, experiment=f"tracking-{request.node.name}")


def opened(tracking: Tracking, root: Path, *, inputs: str = "inputs", resume: bool = False) -> Any:
    return open_run(tracking, root, inputs_sha256=inputs, name="toy", resume=resume)


@pytest.mark.integration
def test_a_run_holds_what_it_is_told_and_is_found_by_its_model(tracking: Tracking, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with opened(tracking, tmp_path) as run:
        run.params({"train": {f"p{index}": index for index in range(130)}, "datasets": ["a", "b"]})
        run.epoch(Epoch(record={"epoch": 0, "loss": 2.5}, seconds=2.0, steps=8))
        run.epoch(Epoch(record={"epoch": 1, "loss": 1.5}, seconds=1.0, steps=8))
        run.dataset("toy", sha256="ab" * 32, uri="data/datasets/toy", profile={"clips": 3}, context="training")
        run.tags({MODEL_TAG: "model-1"})
        run.file(note)
    client = client_of(tracking, tmp_path)
    seen = client.get_run(run.run_id)
    assert seen.info.status == "FINISHED"
    assert seen.data.params["train.p129"] == "129"
    assert seen.data.params["datasets"] == '["a", "b"]'
    assert [(m.step, m.value) for m in client.get_metric_history(run.run_id, "loss")] == [(0, 2.5), (1, 1.5)]
    assert [m.value for m in client.get_metric_history(run.run_id, "steps_per_s")] == [4.0, 8.0]
    (given,) = seen.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("toy", "ab" * 16)
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}
    assert (tmp_path / tracking.artifacts / run.run_id / "artifacts" / "note.txt").read_text() == "hello"
    assert find_run(tracking, tmp_path, "model-1") == run.run_id
    with opened(tracking, tmp_path) as newer:
        newer.tags({MODEL_TAG: "model-1"})
    assert find_run(tracking, tmp_path, "model-1") == newer.run_id
    with pytest.raises(ModelError, match="no MLflow run made this model"):
        find_run(tracking, tmp_path, "model-2")


@pytest.mark.integration
@pytest.mark.parametrize(("error", "status"), [(ValueError("broken"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_how_a_run_ended_stands_in_its_status(
    tracking: Tracking, tmp_path: Path, error: BaseException, status: str
) -> None:
    def stopped() -> None:
        with opened(tracking, tmp_path) as run:
            run.tags({MODEL_TAG: "half"})
            raise error

    with pytest.raises(type(error)):
        stopped()
    client = client_of(tracking, tmp_path)
    (run,) = client.search_runs([experiment_id(client, tracking, tmp_path)])
    assert run.info.status == status
    assert run.data.tags.get("mer.error") == ("broken" if status == "FAILED" else None)
    with pytest.raises(ModelError, match="no MLflow run"):
        find_run(tracking, tmp_path, "half")


@pytest.mark.integration
def test_only_a_resumed_training_continues_its_run(tracking: Tracking, tmp_path: Path) -> None:
    def stopped() -> None:
        with opened(tracking, tmp_path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    client = client_of(tracking, tmp_path)
    (first,) = client.search_runs([experiment_id(client, tracking, tmp_path)])
    with opened(tracking, tmp_path, inputs="others", resume=True) as other:
        assert other.run_id != first.info.run_id
    with opened(tracking, tmp_path, resume=False) as anew:
        assert anew.run_id != first.info.run_id
    with opened(tracking, tmp_path, resume=True) as resumed:
        assert resumed.run_id == first.info.run_id
    seen = client.get_run(first.info.run_id)
    assert seen.info.status == "FINISHED"
    assert seen.data.tags[INPUTS_TAG] == "inputs"
    with opened(tracking, tmp_path, resume=True) as finished_are_left:
        assert finished_are_left.run_id != first.info.run_id
