from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.contracts.config import Tracking
from components.tracking.publish import publish
from components.tracking.runs import run_of
from tests.evaluation.pages.test_write import write
from tests.evaluation.test_evaluate import done

pytestmark = pytest.mark.integration


def test_figures_plots_and_report_are_in_the_run(tmp_path: Path, mlflow_uri: str) -> None:
    tracking = Tracking(uri=mlflow_uri, artifacts="artifacts", experiment="publish")
    folder = write(tmp_path / "evaluated")
    first = publish(folder, done().metrics, tracking=tracking, root=tmp_path, model_sha256="a" * 64)
    assert publish(folder, done().metrics, tracking=tracking, root=tmp_path, model_sha256="a" * 64) == first
    assert run_of(tracking, tmp_path, "b" * 64).run_id != first
    client = MlflowClient(mlflow_uri)
    run = client.get_run(first)
    assert run.data.metrics["test/clip/macro_f1"] == pytest.approx(done().metrics["clip"]["macro_f1"]["value"])
    assert run.data.metrics["test/subsets/face_voice/accuracy"] > 0.8
    assert "restored" in run.info.run_name
    assert "evaluation/report.html" in [item.path for item in client.list_artifacts(first, "evaluation")]
    assert client.list_artifacts(first, "evaluation/plots")
