"""The disk of a project fills while it trains, for real: nothing is lost, told twice or learned differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.contracts.codes import Code
from components.contracts.config import Params
from components.contracts.errors import UnavailableError
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.tracking.client import client_of
from components.tracking.runs import experiment_id
from pipelines.stages import call_stage
from tests.small_disk import fill, small_disk
from tests.training.catalogs import tiny_params, write_catalog
from tests.training.recorded import check_recorded_alike, in_epochs

EPOCHS = 12
# The last page of a file may have room for a few lines where the disk has none.
FULL_FROM, ROOM_FROM = 1, 10


@pytest.fixture(autouse=True)
def _no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", kib=16384) as folder:
        yield folder


def full(disk: Path, until: int) -> dict[int, Callable[[], object]]:
    """Fills it, and again what is freed when an older checkpoint goes."""
    return dict.fromkeys(range(FULL_FROM, until), lambda: fill(disk))


def params_of(uri: str, experiment: str, workers: int) -> Params:
    params = tiny_params(uri, experiment, epochs=EPOCHS)
    return params.model_copy(update={"runtime": params.runtime.model_copy(update={"workers": workers})})


def trained(layout: Layout, params: Params) -> Layout:
    write_catalog(layout)
    call_stage("train", params, layout)
    return layout


def check_equal(whole: Layout, other: Layout, params: Params) -> None:
    """Equal weights, and of both trainings every step in MLflow, once and with the same values."""
    for name in ("model.safetensors", "history.json"):
        assert file_sha256(other.trained / name) == file_sha256(whole.trained / name)
    assert list((other.state / "train").iterdir()) == []
    client = client_of(params.tracking, whole.root)
    runs = client.search_runs([experiment_id(client, params.tracking, whole.root)])
    assert len(runs) == 2
    check_recorded_alike(client, runs, epochs=EPOCHS)


@pytest.mark.integration
def test_a_training_goes_on_until_there_is_room(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow's store is on the same disk, as it is on a laptop."""
    params = params_of(f"sqlite:///{disk / 'mlflow.db'}", "full-for-a-while", workers=0)
    whole, layout = trained(Layout(tmp_path / "whole"), params), Layout(disk)
    write_catalog(layout)
    in_epochs(monkeypatch, {**full(disk, ROOM_FROM), ROOM_FROM: (disk / "filler").unlink})
    call_stage("train", params, layout)
    check_equal(whole, layout, params)
    said = capsys.readouterr().err
    assert said.count("a checkpoint cannot be written, training goes on without") == 1
    assert said.count("records for MLflow wait in memory until there is room") == 1
    assert said.count("there is room again") == 1
    assert "away" not in said


@pytest.mark.integration
def test_without_room_at_the_end_it_says_so_and_goes_on_the_next_time(
    tmp_path: Path, disk: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_full_to_the_end(tmp_path, disk, mlflow_uri, monkeypatch, workers=0)


@pytest.mark.bench  # a minute; `test_epochs.py` fills the disk of what a worker writes
@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_no_worker_ends_of_a_full_disk(
    tmp_path: Path, disk: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_full_to_the_end(tmp_path, disk, mlflow_uri, monkeypatch, workers=2)


def check_full_to_the_end(
    tmp_path: Path, disk: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, *, workers: int
) -> None:
    params = params_of(mlflow_uri, f"full-to-the-end-{workers}", workers)
    whole, layout = trained(Layout(tmp_path / "whole"), params), Layout(disk)
    write_catalog(layout)
    told: list[int] = []
    with monkeypatch.context() as patch:
        in_epochs(patch, {**full(disk, EPOCHS - 1), EPOCHS - 1: lambda: told.append(EPOCHS - 1)})
        with pytest.raises(UnavailableError, match=r"the disk is full.*Make room there") as stopped:
            call_stage("train", params, layout)
    assert (stopped.value.code, stopped.value.exit_code) == (Code.NO_ROOM, 7)
    assert told == [EPOCHS - 1]
    client = client_of(params.tracking, layout.root)
    newest, _ = client.search_runs([experiment_id(client, params.tracking, layout.root)])
    assert newest.info.status == "FAILED"
    assert "the disk is full" in newest.data.tags["mer.error"]
    (disk / "filler").unlink()
    call_stage("train", params, layout)
    check_equal(whole, layout, params)
