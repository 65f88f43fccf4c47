"""A person withdraws from a small real project: every stage has run, DVC has its copies, MLflow a version. These tests
search for what remains of the person by their own means, not by those of the command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient

from components.ablation.answers import Answers, FoldResult, save_result
from components.contracts.config import Params
from components.contracts.errors import DataError, UnavailableError
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, read_readmitted, write_readmitted
from components.datasets.withdrawn import FILE
from components.registry.marking import SPLITS_TAG, SUBJECTS_TAG
from pipelines import inputs
from pipelines.cli import call
from pipelines.commands.withdrawal import withdraw
from pipelines.commands.withdrawal.forget import Removal
from pipelines.project import load
from pipelines.repro import reproduce
from pipelines.run import make_plan
from pipelines.stage import last_facts
from pipelines.stages import call_stage
from tests.datasets.feature_folders import separable, write_features
from tests.pipelines.projects import make_project
from tests.trees import tree_sha256

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NAME, MODEL = "feature_table", "withdrawals"
SUBJECTS, CLIPS = 9, 3


def corpus(folder: Path, *, without: str | None = None) -> Path:
    """Nine people with three clips each, one array of which is unusable."""
    table, arrays = separable(SUBJECTS, CLIPS, steps=8)
    arrays["face_au"]["p01_c0"][2] = np.nan
    if without is not None:
        table = "".join(line for line in table.splitlines(keepends=True) if not line.startswith(f"{without}_"))
        arrays = {
            name: {key: value for key, value in of_clip.items() if not key.startswith(f"{without}_")}
            for name, of_clip in arrays.items()
        }
    return write_features(folder, table, arrays, rates={"face_au": 25.0, "prosody": 25.0})


def settings(uri: str) -> dict[str, Any]:
    return {
        "datasets": [NAME],
        NAME: {"root": "sets"},
        "validation": {"min_clips": 4, "min_clips_per_class": 1},
        "train": {"epochs": 1},
        "runtime": {"workers": 0},
        "model": {"width": 16, "heads": 2, "tcn_blocks": 1},
        "evaluate": {"bootstrap": 10, "timelines": 1},
        "tracking": {"uri": uri, "experiment": MODEL},
        "registry": {"model_name": MODEL},
    }


def to_catalog(params: Params, layout: Layout) -> None:
    inputs.write(params, layout)
    for stage in ("datasets", "alignment", "features", "validation"):
        call_stage(stage, params, layout, NAME)
    call_stage("catalog", params, layout)


def to_version(params: Params, layout: Layout) -> str:
    for stage in ("train", "evaluate"):
        call_stage(stage, params, layout)
    return str(call_stage("register", params, layout)["version"])


@dataclass(frozen=True)
class Made:
    root: Path
    version: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Made:
    root = make_project(tmp_path_factory.mktemp("withdraw") / "project", settings(mlflow_uri))
    corpus(root / "sets")
    layout, params = Layout(root), load(root)
    to_catalog(params, layout)
    version = to_version(params, layout)
    (layout.state / "train" / "unfinished").mkdir(parents=True)
    (layout.state / "train" / "unfinished" / "transform.json").write_text("{}")
    ids = [f"{NAME}/p{person:02d}_c0" for person in range(SUBJECTS)]
    for number, learned in enumerate((ids[:5], ids[5:])):
        numbers = np.zeros(1, np.int64)
        answers = Answers(clips=(ids[-1 - number],), clip=numbers, truth=numbers, posterior={}, unimodal={})
        facts = {"learned_from": [clip_id for clip_id in learned if clip_id != ids[-1 - number]]}
        path = layout.state / "ablation" / "results" / f"{number}.safetensors"
        save_result(path, FoldResult(answers={("test", "clip"): answers}, prior={}, facts=facts))
    report = layout.state / "ablation" / "all" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("".join(f"<td>{clip_id}</td>" for clip_id in ids))
    rows = [Readmitted(dataset=NAME, clip_id=clip_id, stage="datasets", code="x", how="again") for clip_id in ids]
    write_readmitted(layout.readmitted, rows)
    inputs.write(params, layout)
    # DVC takes the present files as the outputs of its stages, and copies them.
    subprocess.run([sys.executable, "-m", "dvc", "commit", "--quiet", "--force"], cwd=root, check=True)
    return Made(root=root, version=version)


@pytest.fixture
def project(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy per test; the registry is shared, so every test withdraws a different person."""
    root = tmp_path / "copy"
    shutil.copytree(made.root, root, symlinks=True)
    monkeypatch.chdir(root)
    return root


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings(list(value.items()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def naming(root: Path, person: str) -> set[str]:
    """The files that name a person or one of their clips, apart from git's, MLflow's and the corpus."""
    places = set()
    for path in root.rglob("*"):
        place = path.relative_to(root).as_posix()
        if not path.is_file() or place.startswith((".git/", ".mer/mlartifacts/", "sets/", "components/", "pipelines/")):
            continue
        data = path.read_bytes()
        if data[:4] == b"PAR1":
            words = set(strings([column.to_pylist() for column in pq.read_table(path).columns]))
            if any(word == f"{NAME}/{person}" or word.startswith(f"{NAME}/{person}_") for word in words):
                places.add(place)
        elif f"{person}_c".encode() in data or f'"{NAME}/{person}"'.encode() in data:
            places.add(place)
    return places


def keys_of(root: Path, person: str) -> set[str]:
    rows = pq.read_table(Layout(root).features(NAME) / "index.parquet").to_pylist()
    return {key for row in rows if row["clip_id"].startswith(f"{NAME}/{person}_") for _, key in row["keys"]}


def stored_keys(root: Path) -> set[str]:
    places = [root / ".dvc" / "cache", root / "data"]
    tables = [
        path for place in places for path in place.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"PAR1"
    ]
    schemas = {path: pq.read_schema(path) for path in tables}
    return {
        key
        for path, schema in schemas.items()
        if "key" in schema.names and pa.types.is_string(schema.field("key").type)
        for key in pq.read_table(path, columns=["key"])["key"].to_pylist()
    }


def tags_of(uri: str, version: str) -> dict[str, str]:
    return dict(MlflowClient(uri).get_model_version(MODEL, version).tags)


def test_a_dry_run_names_everything_and_changes_nothing(
    project: Path, made: Made, mlflow_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = naming(project, "p00")
    assert {place.split("/")[0] for place in theirs} == {".dvc", ".mer", "data", "readmitted.csv"}
    before = {place: tree_sha256(project / place) for place in ("data", ".dvc/cache", ".mer/ablation", ".mer/bundles")}
    assert call(["withdraw", "--subject", "p00", "--dataset", NAME, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{NAME}/p00: 3 clips\n")
    assert "data/datasets/feature_table/clips.parquet: 3 rows removed" in shown
    assert f"{MODEL} version {made.version} was made with them" in shown
    assert "would be marked" in shown
    assert "copies of outputs in DVC's cache: removed" in shown
    listed = [line.split(":")[0] for line in shown.splitlines() if line.startswith("  ")]
    assert len(set(listed)) == len(listed)
    assert shown.endswith("Dry run: nothing was done\n")
    assert {place: tree_sha256(project / place) for place in before} == before
    assert not (project / FILE).exists()
    assert SUBJECTS_TAG not in tags_of(mlflow_uri, made.version)


def test_a_person_is_gone_from_everywhere_and_does_not_come_back(
    project: Path, made: Made, mlflow_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = keys_of(project, "p01")
    assert keys
    assert keys <= stored_keys(project)
    MlflowClient(mlflow_uri).set_model_version_tag(MODEL, made.version, "rollout.state", "serving")
    assert call(["withdraw", "--subject", f"{NAME}/p01"]) == 0
    shown = capsys.readouterr().out
    assert "IS SERVING NOW" in shown
    assert "evidence in MLflow" in shown
    assert naming(project, "p01") == set()
    assert not keys & stored_keys(project)
    assert "p01" not in (project / FILE).read_text()
    assert naming(project, "p02")  # the others are still there
    # A training uses some people and is tested on others; the second one uses p01 in neither way.
    assert [path.name for path in (project / ".mer" / "ablation" / "results").iterdir()] == ["1.safetensors"]
    assert not (project / ".mer" / "train" / "unfinished").exists()
    assert len(read_readmitted(project / "readmitted.csv")) == SUBJECTS - 1
    tags = tags_of(mlflow_uri, made.version)
    assert len(tags[SUBJECTS_TAG].split(",")) == 1
    assert tags[SPLITS_TAG] in ("train", "calibration", "test")

    # The corpus still holds them; the stages give the outputs of a corpus without them.
    params, layout = load(project), Layout(project)
    to_catalog(params, layout)
    assert naming(project, "p01") == set()
    other = Layout(make_project(tmp_path / "other", yaml.safe_load((project / "params.yaml").read_text())))
    corpus(other.root / "sets", without="p01")
    to_catalog(params, other)
    for place in ("aligned", "features", "validated", "catalog"):
        assert tree_sha256(project / "data" / place) == tree_sha256(other.root / "data" / place), place

    # A version trained now is made without them.
    version = to_version(params, layout)
    assert version != made.version
    assert call(["withdraw", "--subject", f"{NAME}/p01"]) == 0
    assert "withdrawn on" in capsys.readouterr().out
    assert SUBJECTS_TAG not in tags_of(mlflow_uri, version)
    assert tags_of(mlflow_uri, made.version)[SUBJECTS_TAG] == tags[SUBJECTS_TAG]


def test_the_pipeline_runs_without_them_and_makes_nothing_again(project: Path) -> None:
    layout = Layout(project)
    for source in ("params.yaml", "dvc.yaml", "components/contracts/versions.py", "components/features/encode.py"):
        (project / source).write_text(f"# a comment\n{(project / source).read_text()}")
    assert make_plan(layout, load(project)).pending == ()
    withdraw.run(f"{NAME}/p06", root=project)
    up_to_catalog = ("catalog",)
    pending = make_plan(layout, load(project), targets=up_to_catalog).pending
    assert [name.partition("@")[0] for name in pending] == [
        "datasets",
        "alignment",
        "features",
        "validation",
        "catalog",
    ]
    assert reproduce(project, up_to_catalog) == 0
    assert last_facts(layout, f"alignment@{NAME}")["aligned_now"] == 0
    encoded = {name: count for name, count in last_facts(layout, f"features@{NAME}").items() if "encoded." in name}
    assert set(encoded.values()) == {0}
    assert "encoded.face_au" in encoded
    assert naming(project, "p06") == set()
    # It is in DVC's lock, so nothing would run again.
    assert make_plan(layout, load(project), targets=up_to_catalog).pending == ()


def outputs(root: Path) -> dict[str, str]:
    """The files after a withdrawal, apart from the salt and the day of its record."""
    places = [*(root / "data").iterdir(), root / ".dvc" / "cache", *(root / ".mer").glob("[abh]*")]
    trees = {place.relative_to(root).as_posix(): tree_sha256(place) for place in places if place.is_dir()}
    return {**trees, "readmitted.csv": (root / "readmitted.csv").read_text()}


def test_an_interrupted_withdrawal_is_completed_by_the_next(project: Path, made: Made, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(project, whole, symlinks=True)
    steps = len(withdraw.run(f"{NAME}/p02", root=whole).changes)
    assert steps > 20
    assert withdraw.run(f"{NAME}/p02", root=whole).changes == []
    for stop in range(1, steps, 5):
        root = tmp_path / f"stopped-{stop}"
        shutil.copytree(made.root, root, symlinks=True)
        made_changes: list[Removal] = []

        def done(change: Removal, changes: list[Removal] = made_changes, stop: int = stop) -> None:
            changes.append(change)
            if len(changes) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            withdraw.run(f"{NAME}/p02", root=root, done=done)
        assert len(json.loads((root / FILE).read_text())) == 1
        assert len(withdraw.run(f"{NAME}/p02", root=root).changes) == steps - stop
        assert len(json.loads((root / FILE).read_text())) == 1
        assert outputs(root) == outputs(whole)
        assert naming(root, "p02") == set()
        assert not list((root / ".mer").glob("withdraw-*"))


def test_marking_waits_for_a_registry_that_is_away(
    project: Path, made: Made, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UnavailableError, match="not marked"):
        withdraw.run(f"{NAME}/p03", root=project)
    assert call(["withdraw", "--subject", f"{NAME}/p03"]) == 7
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    before = tags_of(mlflow_uri, made.version).get(SUBJECTS_TAG, "")
    assert call(["withdraw", "--subject", f"{NAME}/p03"]) == 0
    assert ": marked" in capsys.readouterr().out
    after = tags_of(mlflow_uri, made.version)[SUBJECTS_TAG]
    assert len(after) > len(before)


def test_an_unknown_id_gets_the_nearest_ids(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["withdraw", "--subject", f"{NAME}/p1O"]) == 3
    shown = capsys.readouterr().err
    assert "error (unknown-subject): no person has this id" in shown
    assert f"Nearest: {NAME}/p0" in shown
    assert call(["withdraw", "--subject", "p04"]) == 3
    assert f"Nearest: {NAME}/p04" in capsys.readouterr().err
    assert call(["withdraw", "--subject", "p04", "--dataset", "feature_tabel"]) == 3
    assert "Did you mean 'feature_table'" in capsys.readouterr().err
    assert not (project / FILE).exists()


def test_what_is_only_in_copies_and_versions_is_found_too(project: Path, made: Made) -> None:
    for place in (project / "data", project / "sets"):
        shutil.rmtree(place)
    keys = keys_of(made.root, "p05")
    outcome = withdraw.run(f"{NAME}/p05", root=project)
    assert naming(project, "p05") == set()
    assert not keys & stored_keys(project)
    assert made.version in {version.version for version in outcome.versions.affected}
    # Only the versions name them now.
    shutil.rmtree(project / ".dvc" / "cache")
    (project / FILE).unlink()
    again = withdraw.run(f"{NAME}/p05", root=project)
    assert again.changes == []
    assert all(version.marked for version in again.versions.affected)
    with pytest.raises(DataError, match="no person has this id"):
        withdraw.run(f"{NAME}/p55", root=project)


def test_a_joint_id_is_refused_and_each_of_its_people_is_accepted(tmp_path: Path, mlflow_uri: str) -> None:
    root = make_project(tmp_path / "project", settings(mlflow_uri))
    table, arrays = separable(3, 2)
    lines = table.splitlines()
    dialogue = {"p00_c0": "d", "p01_c0": "d"}
    lines = [f"{lines[0]},sequence_id", *(f"{line},{dialogue.get(line.partition(',')[0], '')}" for line in lines[1:])]
    write_features(root / "sets", "\n".join(lines) + "\n", arrays)
    with pytest.raises(DataError, match=f"several people.*{NAME}/p00, {NAME}/p01"):
        withdraw.run(f"{NAME}/p00+p01", root=root)
    call_stage("datasets", load(root), Layout(root), NAME)
    outcome = withdraw.run(f"{NAME}/p00", root=root)
    assert outcome.trace.clip_ids == {f"{NAME}/d", f"{NAME}/p00_c1"}
    call_stage("datasets", load(root), Layout(root), NAME)
    rows = pq.read_table(Layout(root).dataset(NAME) / "clips.parquet").to_pylist()
    assert {row["clip_id"]: row["subject_id"] for row in rows} == {
        f"{NAME}/p01_c1": f"{NAME}/p01",
        f"{NAME}/p02_c0": f"{NAME}/p02",
        f"{NAME}/p02_c1": f"{NAME}/p02",
    }
