from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.contracts.atomic import read_json, write_json
from components.contracts.config import Tracking
from components.contracts.errors import ModelError
from components.tracking.client import Client, client_of
from components.tracking.runs import (
    INPUTS_TAG,
    MODEL_TAG,
    PARENT_TAG,
    Run,
    experiment_id,
    find_run,
    has_run,
    new_run,
    run_of,
)
from components.tracking.spool import DELIVERED
from components.tracking.spooled import open_run


@pytest.fixture
def tracking(mlflow_uri: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracking(uri=mlflow_uri, experiment=f"tracking-{request.node.name}")


def opened(tracking: Tracking, root: Path, *, inputs: str = "inputs", spool: str = "spool") -> Any:
    return open_run(tracking, root, inputs_sha256=inputs, name="toy", folder=root / spool)


@pytest.mark.integration
def test_a_run_holds_what_it_is_told_and_is_found_by_its_model(tracking: Tracking, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with opened(tracking, tmp_path) as run:
        run.params({"train": {f"p{index}": index for index in range(130)}, "datasets": ["a", "b"]})
        run.metrics({"loss": 2.5, "steps_per_s": 4.0}, step=0)
        run.metrics({"loss": 1.5, "steps_per_s": 8.0}, step=1)
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
    with opened(tracking, tmp_path, spool="newer") as newer:
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
def test_a_run_goes_on_where_its_records_are_and_takes_nothing_twice(tracking: Tracking, tmp_path: Path) -> None:
    def stopped() -> None:
        with opened(tracking, tmp_path) as run:
            run.params({"runtime": {"workers": 2}, "seed": 7})
            run.metrics({"loss": 2.5}, step=0)
            run.metrics({"loss": 1.5}, step=1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    client = client_of(tracking, tmp_path)
    (first,) = client.search_runs([experiment_id(client, tracking, tmp_path)])
    # As after a process that died before it wrote down what it had delivered.
    delivered = read_json(tmp_path / "spool" / DELIVERED)
    write_json(tmp_path / "spool" / DELIVERED, {**delivered, "records": 0})
    with opened(tracking, tmp_path) as resumed:
        assert resumed.run_id == first.info.run_id
        resumed.params({"runtime": {"workers": 4}, "seed": 7})
        resumed.metrics({"loss": 1.4, "steps_per_s": 3.0}, step=1)
        resumed.metrics({"loss": 0.5}, step=2)
        resumed.describe(f"[page]({resumed.link('docs/index.html')})")
    seen = client.get_run(first.info.run_id)
    assert seen.info.status == "FINISHED"
    assert seen.data.tags[INPUTS_TAG] == "inputs"
    assert (seen.data.params["runtime.workers"], seen.data.tags["resumed.runtime.workers"]) == ("2", "4")
    assert "resumed.seed" not in seen.data.tags
    losses = client.get_metric_history(first.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in losses] == [(0, 2.5), (1, 1.5), (2, 0.5)]
    page = f"#/experiments/{seen.info.experiment_id}/runs/{first.info.run_id}/artifacts/docs/index.html"
    assert seen.data.tags["mlflow.note.content"] == f"[page]({page})"
    with opened(tracking, tmp_path, spool="anew") as anew:
        assert anew.run_id != first.info.run_id
    # A store that lost the run gets all of it; the same for a different store.
    client.delete_run(first.info.run_id)
    with opened(tracking, tmp_path) as made_anew:
        pass
    losses = client.get_metric_history(made_anew.run_id, "loss")
    assert (made_anew.run_id != first.info.run_id, len(losses)) == (True, 3)


@pytest.mark.integration
def test_a_model_without_a_run_gets_one_that_is_found_again(tracking: Tracking, tmp_path: Path) -> None:
    made = run_of(tracking, tmp_path, "c" * 64)
    assert run_of(tracking, tmp_path, "c" * 64).run_id == made.run_id == find_run(tracking, tmp_path, "c" * 64)
    seen = made.client.get_run(made.run_id)
    assert (seen.info.status, seen.info.run_name) == ("FINISHED", "restored cccccccc")
    assert seen.data.tags["mer.restored"].startswith("trained elsewhere")


@pytest.mark.integration
def test_runs_nest_and_are_known_by_a_tag_when_they_are_done(tracking: Tracking, tmp_path: Path) -> None:
    with new_run(tracking, tmp_path, name="outer", tags={"mer.toy": "1"}) as outer:
        assert not has_run(tracking, tmp_path, tag="mer.toy", value="1")
        with new_run(tracking, tmp_path, name="inner", tags={}, parent=outer) as inner:
            inner.metrics({f"m{index}": float(index) for index in range(1100)})
    assert has_run(tracking, tmp_path, tag="mer.toy", value="1")
    assert not has_run(tracking, tmp_path, tag="mer.toy", value="2")
    seen = inner.client.get_run(inner.run_id)
    assert seen.data.tags[PARENT_TAG] == outer.run_id
    assert seen.data.metrics == {f"m{index}": float(index) for index in range(1100)}


@pytest.mark.integration
def test_a_value_is_read_back_from_a_run_that_has_it(tracking: Tracking, tmp_path: Path) -> None:
    with new_run(tracking, tmp_path, name="toy", tags={}) as run:
        assert run.read_json("lineage/x.json") is None
        run.json({"a": [1, 2]}, "lineage/x.json")
        run.json({"b": 3}, "y.json")
    assert run.read_json("lineage/x.json") == {"a": [1, 2]}
    assert run.read_json("y.json") == {"b": 3}
    assert Run(run.client, "0" * 32).read_json("y.json") is None


@pytest.mark.integration
def test_what_went_wrong_first_is_what_is_raised(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def broken() -> None:
        with new_run(tracking, tmp_path, name="toy", tags={}) as run:
            run.client = Client("http://127.0.0.1:9")  # the server is gone now
            raise ValueError("the training broke")

    with pytest.raises(ValueError, match="the training broke"):
        broken()
