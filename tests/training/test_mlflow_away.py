"""MLflow is away for a whole training, or goes away while one runs and is back before it ends, and a driver is killed:
nothing is lost or told twice."""

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
from tests.training.recorded import check_recorded_alike, in_epochs

EPOCHS = 5
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
call_stage("train", tiny_params(sys.argv[1], "away", epochs=int(sys.argv[2])), Layout(Path(sys.argv[3])))
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
    layouts = [Layout(tmp_path / name) for name in ("away", "whole", "killed", "interrupted")]
    away, whole, killed, interrupted = layouts
    for layout in layouts:
        write_catalog(layout)
    port = free_port(0, "test", strict=True)
    params = tiny_params(f"http://127.0.0.1:{port}", "away", epochs=EPOCHS)
    # Away from the start to the end: the training is done, and ends with one line about what waits.
    words = r"the training is done, but \d+ records wait for MLflow: cannot reach MLflow"
    with pytest.raises(UnavailableError, match=words) as error:
        call_stage("train", params, away)
    assert error.value.exit_code == 7
    assert capsys.readouterr().err.count("MLflow is away") == 1
    with ExitStack() as running, monkeypatch.context() as patch:
        address = running.enter_context(server(tmp_path, port))
        call_stage("train", params, whole)
        command = [sys.executable, "-c", KILLED_DRIVER, address, str(EPOCHS), str(killed.root)]
        assert subprocess.run(command, check=False).returncode == -9
        in_epochs(patch, {1: running.close, 3: lambda: running.enter_context(server(tmp_path, port))})
        call_stage("train", params, interrupted)
        said = capsys.readouterr().err
        assert said.count("MLflow is away") == said.count("MLflow is back") == 1
        patch.undo()
        for layout in (killed, away):
            call_stage("train", params, layout)
        for layout in layouts:
            assert list((layout.state / "train").iterdir()) == []
            assert file_sha256(layout.trained / "model.safetensors") == file_sha256(whole.trained / "model.safetensors")
        client = client_of(params.tracking, tmp_path)
        runs = client.search_runs([experiment_id(client, params.tracking, tmp_path)])
        assert len(runs) == len(layouts)
        check_recorded_alike(client, runs, epochs=EPOCHS)
        for run in runs:
            assert run.data.params == runs[0].data.params
            assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"history.json", "plots"}
