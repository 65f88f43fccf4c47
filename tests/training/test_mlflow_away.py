"""MLflow goes away while a training runs, the driver is killed, and MLflow is back: nothing is lost or told twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from components.contracts.errors import UnavailableError
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.tracking.client import client_of
from components.tracking.runs import experiment_id
from pipelines.commands.service.mlflow_server import free_port, mlflow_server, wait_ready
from pipelines.stages import call_stage
from tests.training.catalogs import tiny_params, write_catalog

# A driver that is killed in the third epoch, when its second one is in the checkpoint and was told to nobody.
KILLED_DRIVER = """
import os, signal, sys
from pathlib import Path

from components.contracts.layout import Layout
from components.training import stage
from pipelines.stages import call_stage
from tests.training.catalogs import tiny_params

fit = stage.fit

def killed(job, folder, *, on_epoch, **given):
    def told(epoch):
        if epoch.number == 0:
            on_epoch(epoch)
        if epoch.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return fit(job, folder, on_epoch=told, **given)

stage.fit = killed
call_stage("train", tiny_params(sys.argv[1], "away"), Layout(Path(sys.argv[2])))
"""


@contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    log = folder / "server.log"
    store = f"sqlite:///{folder / 'mlflow.db'}"
    with mlflow_server(store_uri=store, artifacts=folder / "artifacts", port=port, log=log) as started:
        wait_ready(started.address, log)
        yield started.address


@pytest.mark.integration
def test_every_step_is_logged_once_though_the_server_and_the_driver_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    whole, killed = Layout(tmp_path / "whole"), Layout(tmp_path / "killed")
    for layout in (whole, killed):
        write_catalog(layout)
    port = free_port(0, "test", strict=True)
    params = tiny_params(f"http://127.0.0.1:{port}", "away")
    with ExitStack() as running:
        address = running.enter_context(server(tmp_path, port))
        call_stage("train", params, whole)
        command = [sys.executable, "-c", KILLED_DRIVER, address, str(killed.root)]
        assert subprocess.run(command, check=False).returncode == -9
    # Away from the start to the end: the training goes on, and ends with one line about what waits.
    words = r"the training is done, but \d+ records wait for MLflow: cannot reach MLflow"
    with pytest.raises(UnavailableError, match=words) as away:
        call_stage("train", params, killed)
    assert away.value.exit_code == 7
    assert capsys.readouterr().err.count("MLflow is away") == 1
    assert file_sha256(killed.trained / "model.safetensors") == file_sha256(whole.trained / "model.safetensors")
    with server(tmp_path, port):
        call_stage("train", params, killed)
        assert list((killed.state / "train").iterdir()) == []
        client = client_of(params.tracking, tmp_path)
        runs = client.search_runs([experiment_id(client, params.tracking, tmp_path)])
        assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
        other, first = runs
        names = set(first.data.metrics)
        assert names == set(other.data.metrics)
        for name in names - {"steps_per_s"} - {name for name in names if name.startswith("time/")}:
            histories = [
                [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
                for run in runs
            ]
            assert histories[0] == histories[1], name
        assert first.data.params == other.data.params
        for run in runs:
            assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"history.json", "plots"}
