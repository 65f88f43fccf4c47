"""The dump of PostgreSQL: the manifest, and its script with the real programs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from pipelines.background import Background
from pipelines.kubeflow import kustomize
from pipelines.stack import postgres
from pipelines.stack.place import Stack
from tests.infra.pod_security import violations
from tests.infra.pods import workload_pods
from tests.pipelines.projects import ROOT
from tests.short_folder import short_folder

MANIFESTS = kustomize.render(ROOT / "infra" / "backup-postgres")
(POD,) = workload_pods(MANIFESTS)
(CONTAINER,) = POD.containers
START_S = 60.0


def test_the_manifest_is_valid_and_reads_the_login_that_mlflow_has() -> None:
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, "1.37", strict=True)
    assert violations(POD) == []
    prod = kustomize.render(ROOT / "infra" / "overlays" / "prod-postgres")
    (server,) = kustomize.find(prod, "Deployment", "mer-mlflow")["spec"]["template"]["spec"]["containers"]
    assert CONTAINER["envFrom"][0] in server["envFrom"]
    assert CONTAINER["env"][0] in server["env"]
    policy = kustomize.find(MANIFESTS, "NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= POD.labels.items()
    service = kustomize.find(prod, "Service", "mer-mlflow")["spec"]["selector"]
    assert not service.items() <= POD.labels.items()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL; the variables of its clients."""
    with short_folder() as folder:
        stack = Stack.make(folder=folder, logs=tmp_path, code=ROOT)
        process = Background(
            postgres.command(stack),
            log=tmp_path / "log",
            environment=stack.environment(),
            folder=Path("/"),
            user=postgres.user(),
            stop=signal.SIGINT,
        )
        process.start()
        try:
            deadline = time.monotonic() + START_S
            while not postgres.ready(stack):
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
            yield stack.environment(**stack.database)
        finally:
            process.end()


@pytest.mark.integration
@pytest.mark.skipif(postgres.missing() is not None, reason=postgres.REMEDY)
def test_what_is_dumped_is_restored(server: dict[str, str], tmp_path: Path) -> None:
    bin_folder = postgres.programs()
    environment = {**server, "PATH": f"{bin_folder}:{os.environ['PATH']}"}

    def run(*command: str, **variables: str) -> str:
        done: Any = subprocess.run(
            command, env={**environment, **variables}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    run(
        "psql",
        "-c",
        "CREATE TABLE runs (id serial PRIMARY KEY, name text); INSERT INTO runs (name) VALUES ('é'), (NULL)",
    )
    folder = tmp_path / "backup"
    folder.mkdir()
    for day in range(1, 16):
        (folder / f"mlflow-2026-01-{day:02}T013000Z.dump").touch()
    run(*CONTAINER["command"], CONTAINER["args"][0].replace("/backup/", f"{folder}/"))
    dumps = sorted(folder.iterdir())
    assert len(dumps) == 14
    run("createdb", "restored")
    run("pg_restore", "--exit-on-error", "--dbname", "restored", str(dumps[-1]))
    rows = "SELECT id, name FROM runs ORDER BY id"
    assert run("psql", "-Atc", rows, PGDATABASE="restored") == run("psql", "-Atc", rows) == "1|é\n2|\n"
