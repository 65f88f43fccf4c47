"""The whole line on a tiny corpus: from rendering to a registered version, a second run that does nothing, and the
local runner of Kubeflow Pipelines with the same hashes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from components.contracts.atomic import read_json
from components.contracts.layout import Layout
from components.runtime.local_http import answer_of
from pipelines.commands.service.mlflow_server import free_port
from pipelines.project import load
from pipelines.retraining.gather import decision_of
from pipelines.retraining.record import record
from pipelines.run import make_plan
from pipelines.stages import STAGES
from tests.pipelines.projects import make_project

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


COMMAND = [sys.executable, "-m", "pipelines.cli"]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without the addresses of services, and with these variables."""
    left_out = {"RAY_ADDRESS", "MLFLOW_TRACKING_URI"}
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, **variables}


def mer(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment(**variables))


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
    version = newest(client)
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


# What `mer run` says on standard error: the plan, Ray's start, how far a stage is, where the time of the
# training went, and how a stage ended.
SAID = (
    r"\d+ of \d+ stages to bring up to date: .*",
    r"Ray: started in \d+ s for the whole run",
    r"[\w@: ]+: \d+/\d+",
    r"train: \d+ s: ([a-z ]+ \d+\.\d%(, )?)+",
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
    assert any(re.fullmatch(r"align synthetic: 10/10", text) for text in said)
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


def test_why_it_would_train_again_is_said_and_recorded(line: tuple, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(line[0], root, symlinks=True)
    done = mer(root, "retrain", "--if-needed")
    assert (done.returncode, done.stdout) == (0, "Nothing to do: no cause to train again\n"), done.stderr
    layout, params = Layout(root), load(root)
    changed = params.model_copy(update={"train": params.train.model_copy(update={"epochs": 3})})
    decision = decision_of(layout, changed)
    assert "parameters: train.epochs 2 → 3" in map(str, decision.causes)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / '.mer' / 'mlflow.db'}")
    assert client.get_registered_model("mer").tags["retrain.decision"] == "nothing"
    record(layout, params, decision)
    version = newest(client)
    assert version.tags["retrain.causes"] == "parameters"
    assert "train.epochs 2 → 3" in client.get_run(version.run_id).data.tags["retrain.why"]


def test_a_registry_that_was_lost_gets_the_version_back(line: tuple, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(line[0], root, symlinks=True)
    shutil.rmtree(root / ".mer")
    before = outs(root)
    done = mer(root, "run")
    assert done.returncode == 0, done.stderr
    assert "registering it again" in done.stdout
    assert outs(root) == before
    # Where the record is gone too, DVC brings it from its cache and does not run the stage.
    shutil.rmtree(root / ".mer")
    shutil.rmtree(root / "data" / "registered")
    done = mer(root, "run")
    assert done.returncode == 0, done.stderr
    assert "registering it again" in done.stdout
    assert outs(root) == before
    from mlflow import MlflowClient

    version = newest(MlflowClient(f"sqlite:///{root / '.mer' / 'mlflow.db'}"))
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
    changed = ("--set", "datasets=[ravdess]", "--set", f"ravdess.root={tmp_path / 'nowhere'}")
    # The stage that fails is the first one, so the cluster that the later ones would use is never asked for anything.
    done = mer(root, "run", *changed, RAY_ADDRESS="127.0.0.1:9")
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


NOBODY = "http://127.0.0.1:9"
# Proxies that reach nothing, and a locale that is not installed.
WEATHER = {
    "HTTP_PROXY": NOBODY,
    "https_proxy": NOBODY,
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "NO_PROXY": "",
    "LC_ALL": "de_DE",
    "LANG": "C",
}
SERVES_S = 300.0


def test_a_project_that_moved_runs_predicts_serves_and_promotes_in_its_new_place(line: tuple, tmp_path: Path) -> None:
    old, root = line[0], tmp_path / "moved"
    shutil.copytree(old, root, symlinks=True)
    assert naming(old, root) == []
    before = listing(old)
    done = mer(root, "run", "--set", "evaluate.bootstrap=22", "--set", "serving.replicas=1", **WEATHER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"2 of \d+ stages to bring up to date: evaluate", done.stderr), done.stderr
    clip = min((root / "data" / "datasets" / "synthetic" / "media").glob("*.mp4"))
    predicted = mer(root, "predict", str(clip), "--json", **WEATHER)
    assert predicted.returncode == 0, predicted.stderr
    with served(root) as (tracking, service):
        version = promote(root, tracking)
        with clip.open("rb") as stream:
            answer = httpx.post(f"{service}/v1/predict", files={"clip": (clip.name, stream)}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["version"] == version
    assert naming(old, root) == naming(root, root) == []
    assert listing(old) == before


def naming(place: Path, root: Path) -> list[str]:
    """The files of a project's outputs and state that name a place on this machine; logs aside."""
    kept = [root / "dvc.lock", *(path for folder in ("data", ".mer", ".dvc") for path in (root / folder).rglob("*"))]
    files = [path for path in kept if path.is_file() and path.suffix != ".log"]
    return [str(path.relative_to(root)) for path in files if str(place).encode() in path.read_bytes()]


def listing(root: Path) -> dict[str, int]:
    """Every file of a project with the time at which it was written; compiled code aside."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}


@contextmanager
def served(root: Path) -> Iterator[tuple[str, str]]:
    """`mer serve`; the addresses of MLflow and the service once a replica answers."""
    ports = [free_port(0, "test", strict=True) for _ in range(2)]
    command = [*COMMAND, "serve", "--mlflow-port", str(ports[0]), "--port", str(ports[1])]
    with (root / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment(**WEATHER), stdout=log, stderr=log)
    tracking, service = (f"http://127.0.0.1:{port}" for port in ports)
    try:
        wait_for(lambda: answer_of(f"{service}/healthz", timeout_s=5) is not None, process, root / "serve.log")
        yield tracking, service
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def newest(client: MlflowClient) -> Any:
    """The version that was registered last."""
    return max(client.search_model_versions("name = 'mer'"), key=lambda version: int(version.version))


def promote(root: Path, tracking: str) -> str:
    """Moves `champion` to the newest version as a reviewer does; returns its number once it is served."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking)
    version = newest(client).version
    # Two epochs pass no gate.
    signed = mer(root, "sign", str(version), "--accept-gates", "--yes", MLFLOW_TRACKING_URI=tracking)
    assert signed.returncode == 0, signed.stderr
    client.set_registered_model_alias("mer", "champion", version)
    deadline = time.monotonic() + SERVES_S
    while client.get_model_version("mer", version).tags.get("rollout.state") != "serving":
        assert time.monotonic() < deadline, client.get_model_version("mer", version).tags
        time.sleep(0.5)
    return str(version)


def wait_for(done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until something is so; fails with the log of a process that ends before."""
    deadline = time.monotonic() + SERVES_S
    while not done():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
