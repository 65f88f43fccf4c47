"""Artifacts of a project's own store, before and after the project moved; with a real MLflow on sqlite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import mlflow.artifacts
import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from components.contracts.config import Tracking
from components.contracts.errors import UnavailableError
from components.tracking.address import database, tracking_uri
from components.tracking.client import Client, client_of
from components.tracking.runs import Run, experiment_id, new_run
from components.tracking.versions import add_version, download, ensure_model

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_store_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def filled(root: Path, tracking: Tracking) -> str:
    """A store with a run, an artifact of it and a version with a file; returns the run's id."""
    with new_run(tracking, root, name="toy", tags={}) as run:
        run.text("written before", "notes/a.txt")
    (root / "model").mkdir(parents=True)
    (root / "model" / "MLmodel").write_text("flavors: {}\n")
    uri = tracking_uri(tracking, root)
    ensure_model("toy", description="", tracking_uri=uri)
    add_version(
        root / "model", name="toy", run_id=run.run_id, bundle_sha256="ab", tags={}, description="", tracking_uri=uri
    )
    return run.run_id


def pinned(root: Path, tracking: Tracking) -> str:
    """As `filled`, with the absolute locations that versions of before wrote."""
    client = client_of(tracking, root)
    client.create_experiment(tracking.experiment, artifact_location=(root / tracking.artifacts).as_uri())
    return filled(root, tracking)


def text(root: Path, tracking: Tracking, run_id: str, name: str) -> str:
    return Path(client_of(tracking, root).download_artifacts(run_id, name)).read_text()


def rows_with(store: Path, words: str) -> list[str]:
    """The tables of a database that hold these words anywhere."""
    with sqlite3.connect(store) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [name for name in tables if words in repr(opened.execute(f"SELECT * FROM {name}").fetchall())]


@pytest.mark.parametrize("make", [filled, pinned])
@pytest.mark.parametrize("tracking", [Tracking(), Tracking(uri="sqlite:///store/m.db", artifacts="store/files")])
def test_a_project_that_moved_takes_its_artifacts_along(
    tmp_path: Path, make: Callable[[Path, Tracking], str], tracking: Tracking
) -> None:
    before, after = tmp_path / "before", tmp_path / "somewhere else" / "after"
    run_id = make(before, tracking)
    after.parent.mkdir()
    before.rename(after)
    _artifact_repos_cache.clear()  # of this process alone; a project moves between two
    assert text(after, tracking, run_id, "notes/a.txt") == "written before"
    uri = tracking_uri(tracking, after)
    folder = download("toy", "1", "MLmodel", into=tmp_path, tracking_uri=uri)
    assert folder.read_text() == "flavors: {}\n"
    Run(client_of(tracking, after), run_id).text("written after", "notes/b.txt")
    with new_run(tracking, after, name="again", tags={}) as run:
        run.text("of a new run", "c.txt")
    assert (after / tracking.artifacts / run_id / "artifacts" / "notes" / "b.txt").read_text() == "written after"
    assert (after / tracking.artifacts / run.run_id / "artifacts" / "c.txt").read_text() == "of a new run"
    assert not before.exists()
    store = database(uri)
    assert store is not None
    assert rows_with(store, str(tmp_path)) == []
    assert rows_with(store, str(Path.cwd())) == []


def test_mlflow_alone_finds_them_beside_the_store(tmp_path: Path) -> None:
    run_id = filled(tmp_path / "project", Tracking())
    copied = (tmp_path / "project").rename(tmp_path / "moved")
    uri = f"sqlite:///{copied}/.mer/mlflow.db"
    path = mlflow.artifacts.download_artifacts(artifact_uri=f"runs:/{run_id}/notes/a.txt", tracking_uri=uri)
    assert Path(path).read_text() == "written before"


def test_a_store_outside_the_project_keeps_the_folders_place_and_says_so_when_it_is_gone(tmp_path: Path) -> None:
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/shared.db")
    project = tmp_path / "project"
    run_id = filled(project, tracking)
    assert text(project, tracking, run_id, "notes/a.txt") == "written before"
    project.rename(tmp_path / "moved")
    client = Client(tracking.uri)
    with pytest.raises(UnavailableError, match="artifacts is gone") as gone:
        experiment_id(client, tracking, tmp_path / "moved")
    assert "tracking.experiment" in str(gone.value.remedy)
    assert not project.exists()


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    filled(tmp_path / "project", Tracking())
    uri = f"sqlite:///{tmp_path}/project/.mer/mlflow.db"
    with pytest.raises(Exception, match=r"[Ii]nvalid path"):
        mlflow.artifacts.download_artifacts(artifact_uri="mlflow-artifacts:/../mlflow.db", tracking_uri=uri)
