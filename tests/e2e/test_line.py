"""The whole line on a tiny corpus: from rendering to a registered version, a second run that does nothing, and the
local runner of Kubeflow Pipelines with the same hashes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.contracts.atomic import read_json
from components.contracts.layout import Layout
from pipelines.project import load
from pipelines.run import make_plan
from pipelines.stages import STAGES
from tests.pipelines.projects import make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def mer(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in {"RAY_ADDRESS", "MLFLOW_TRACKING_URI"}
    }
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)


def outs(root: Path) -> dict[str, list[str]]:
    """Stage → hashes of its outputs, as DVC recorded them."""
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    return {name: [out["md5"] for out in stage["outs"]] for name, stage in lock["stages"].items()}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A project after its first run, and what that run said."""
    root = make_project(tmp_path_factory.mktemp("line") / "project")
    return root, mer(root, "run")


def test_the_run_ends_in_a_registered_version(line: tuple) -> None:
    root, done = line
    assert done.returncode == 0, done.stdout + done.stderr
    registered = read_json(root / "data" / "registered" / "registered.json")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / '.mer' / 'mlflow.db'}")
    version = client.get_model_version_by_alias(registered["model_name"], "challenger")
    assert version.tags["mer.bundle_sha256"] == registered["bundle_sha256"]
    assert version.tags["gates.passed"] == str(registered["gates_passed"]).lower()
    assert version.tags["lineage.seed"] == "7"


def test_the_summary_says_what_and_where_and_how_long(line: tuple) -> None:
    shown = line[1].stdout
    assert "face+voice+text+physio" in shown
    assert "(majority)" in shown
    assert "data/evaluated/report.html" in shown
    assert "Peak memory" in shown
    for stage in STAGES:
        assert stage in shown


# What `mer run` says on standard error: the plan, Ray's start, how far a stage is, and how it ended.
SAID = (
    r"\d+ of \d+ stages to bring up to date: .*",
    r"Ray: started in \d+ s for the whole run",
    r"[\w@: ]+: \d+/\d+",
    r"[\w@]+: .* \(\d+\.\d s\)",
)
CHATTER = (
    "core_worker",
    "rogress bars",
    "mlflow.",
    "alembic",
    "lock file",
    "git add",
    "dvc config",
    "dvc push",
    "INFO",
)


def test_a_run_says_what_a_person_reads_and_nothing_else(line: tuple) -> None:
    said = line[1].stderr.splitlines()
    assert [text for text in said if not any(re.fullmatch(pattern, text) for pattern in SAID)] == []
    assert any(re.fullmatch(r"align synthetic: 15/15", text) for text in said)
    assert [word for word in CHATTER if word in line[1].stdout] == []


def test_every_stage_ran_through_dvc(line: tuple) -> None:
    assert {name.partition("@")[0] for name in outs(line[0])} == set(STAGES)


def test_a_second_run_does_nothing_and_says_so(line: tuple) -> None:
    root, _ = line
    before = outs(root)
    done = mer(root, "run")
    assert done.returncode == 0, done.stderr
    assert "Nothing has changed" in done.stdout
    assert "Ray" not in done.stderr
    assert outs(root) == before


def test_a_registry_that_was_lost_gets_the_version_back(line: tuple, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(line[0], root, symlinks=True)
    shutil.rmtree(root / ".mer")
    before = outs(root)
    done = mer(root, "run")
    assert done.returncode == 0, done.stderr
    assert "registering it again" in done.stdout
    assert outs(root) == before
    from mlflow import MlflowClient

    version = MlflowClient(f"sqlite:///{root / '.mer' / 'mlflow.db'}").get_model_version_by_alias("mer", "challenger")
    assert version.tags["mer.bundle_sha256"] == read_json(root / "data/registered/registered.json")["bundle_sha256"]


def test_the_checkout_stays_clean(line: tuple) -> None:
    """Nothing but dvc.lock, which is the team's to commit, appears in git."""
    status = subprocess.run(["git", "status", "--porcelain"], cwd=line[0], capture_output=True, text=True, check=True)
    assert status.stdout.split() == ["??", "dvc.lock"]


def test_settings_of_the_service_and_comments_change_nothing(line: tuple) -> None:
    root, _ = line
    sources = ["params.yaml", "dvc.yaml", "components/contracts/versions.py", "components/features/encode.py"]
    before = {name: (root / name).read_text() for name in sources}
    try:
        for name, text in before.items():
            (root / name).write_text(f"# a comment\n{text}")
        (root / "params.yaml").write_text(f"# a comment\n{before['params.yaml']}\nserving:\n  port: 9000\n")
        assert "Nothing has changed" in mer(root, "run").stdout
    finally:
        for name, text in before.items():
            (root / name).write_text(text)


def test_a_new_dataset_is_the_only_one_whose_stages_run(line: tuple, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(line[0], root, symlinks=True)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["datasets"].append("folder")
    params["folder"] = {"root": "recordings", "licence": "CC0", "consent": "synthetic"}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    pending = make_plan(Layout(root), load(root)).pending
    own = {f"{stage}@folder" for stage in ("datasets", "alignment", "features", "validation")}
    assert set(pending) == own | {"catalog", "train", "evaluate", "register"}


def test_a_failing_stage_gives_its_exit_code_and_leaves_the_rest(line: tuple, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(line[0], root, symlinks=True)
    done = mer(root, "run", "--set", "datasets=[ravdess]", "--set", f"ravdess.root={tmp_path / 'nowhere'}")
    assert done.returncode == 3
    assert "params.yaml: datasets: ['synthetic'] -> ['ravdess']" in done.stdout
    assert "the corpus folder does not exist" in done.stderr
    assert "stopped in datasets@ravdess" in done.stderr
    back = mer(root, "run", "--set", "datasets=[synthetic]")
    assert "Nothing has changed" in back.stdout


def test_kubeflows_local_runner_gives_the_same_hashes(line: tuple, tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", source=line[0])
    done = mer(root, "kfp", "run", "--local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outs(root) == outs(line[0])
