from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from components.contracts.errors import DataError
from components.datasets.remote import listing, place_of, read
from pipelines import cli
from pipelines.commands.backup.command import HASHES, backup, restore, snapshots
from pipelines.kubeflow import kustomize
from tests.datasets.objects import BUCKET, object_store
from tests.infra.pod_security import violations
from tests.infra.pods import Pod
from tests.pipelines.projects import ROOT

NIGHT = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)


def rows(store: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(store / "store.db")) as database:
        return database.execute("SELECT name FROM versions ORDER BY name").fetchall()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A server's folder, as SQLite leaves it while somebody writes."""
    folder = tmp_path / "store"
    (folder / "artifacts" / "1").mkdir(parents=True)
    (folder / "artifacts" / "1" / "model.bin").write_bytes(b"weights")
    with closing(sqlite3.connect(folder / "store.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE versions (name TEXT)")
        database.execute("INSERT INTO versions VALUES ('one')")
        database.commit()
    return folder


def test_a_snapshot_of_a_server_that_is_writing_is_restored_as_it_was(store: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(store / "store.db")) as writer:
        writer.execute("INSERT INTO versions VALUES ('two')")
        writer.commit()  # in the write-ahead log, not yet in the file
        writer.execute("INSERT INTO versions VALUES ('half done')")
        assert "2 files" in backup(str(store), tmp_path / "backup", keep=2, now=NIGHT)
    again = tmp_path / "again"
    (snapshot,) = snapshots(tmp_path / "backup")
    assert restore(snapshot, str(again)) == f"{again}: 2 files of 2026-03-01T013000Z"
    assert rows(again) == [("one",), ("two",)]
    assert (again / "artifacts/1/model.bin").read_bytes() == b"weights"


def test_snapshots_cost_what_is_new_and_the_oldest_go(store: Path, tmp_path: Path) -> None:
    to = tmp_path / "backup"
    for night in range(3):
        backup(str(store), to, keep=2, now=NIGHT + timedelta(days=night))
    first, second = (path / "artifacts/1/model.bin" for path in snapshots(to))
    assert first.stat().st_ino == second.stat().st_ino
    assert [path.name[:10] for path in snapshots(to)] == ["2026-03-02", "2026-03-03"]


def test_what_is_damaged_half_made_or_in_the_way_is_refused(store: Path, tmp_path: Path) -> None:
    to = tmp_path / "backup"
    backup(str(store), to, keep=2, now=NIGHT)
    (snapshot,) = snapshots(to)
    with pytest.raises(DataError, match="not empty"):
        restore(snapshot, str(store))
    (snapshot / "artifacts/1/model.bin").write_bytes(b"changed")
    with pytest.raises(DataError, match=r"model\.bin.*damaged"):
        restore(snapshot, str(tmp_path / "again"))
    (snapshot / HASHES).unlink()
    with pytest.raises(DataError, match="not a whole snapshot"):
        restore(snapshot, str(tmp_path / "again"))
    assert not (tmp_path / "again").exists()
    with pytest.raises(DataError, match="nothing to back up"):
        backup(str(tmp_path / "nowhere"), to, keep=2)


def test_a_bucket_is_backed_up_for_what_is_new_and_restored_into_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, names = tmp_path / "backup", ("files/md5/0a/1", "files/md5/0b/2")
    with object_store(monkeypatch) as bucket:
        for name in names:
            bucket.put(f"dvc/{name}", name.encode())
        backup(f"s3://{BUCKET}/dvc", to, keep=2, now=NIGHT)
        bucket.put("dvc/files/md5/0c/3", b"new")
        backup(f"s3://{BUCKET}/dvc", to, keep=2, now=NIGHT + timedelta(days=1))
        first, second = snapshots(to)
        assert (first / names[0]).stat().st_ino == (second / names[0]).stat().st_ino
        with pytest.raises(DataError, match="not empty"):
            restore(second, f"s3://{BUCKET}/dvc")
        assert restore(second, f"s3://{BUCKET}/again").endswith("3 files of 2026-03-02T013000Z")
        restored = place_of(f"s3://{BUCKET}/again", where="test")
        assert {item.name: read(restored, item.name) for item in listing(restored)} == {
            **{name: name.encode() for name in names},
            "files/md5/0c/3": b"new",
        }
        bucket.put("odd/a", b"1")
        bucket.put("odd/a/b", b"2")
        with pytest.raises(DataError, match="odd: an object's name cannot be that of a file; seen 'a'"):
            backup(f"s3://{BUCKET}/odd", to, keep=2)
        with pytest.raises(DataError, match="nothing to back up"):
            backup(f"s3://{BUCKET}/nowhere", to, keep=2)


@pytest.mark.parametrize(
    ("folder", "store", "claim"),
    [("backup", "/store", "mer-backup"), ("backup-bucket", "s3://mer-dvc", "mer-backup-bucket")],
)
def test_the_nightly_job_calls_it_with_its_store_and_volume(folder: str, store: str, claim: str) -> None:
    manifests = kustomize.render(ROOT / "infra" / folder)
    spec = kustomize.find(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    name, *options = container["args"]
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    parsed = command.make_context(name, list(options)).params
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]}
    assert parsed["store"] == store
    assert claims[mounts[str(parsed["to"])]] == claim
    if store in mounts:
        assert claims[mounts[store]] == "mer-mlflow"
    assert violations(Pod(name="backup", namespace="mer", labels={}, spec=spec)) == []
