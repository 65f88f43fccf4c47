from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from components.contracts.atomic import read_json, write_json
from components.contracts.config import Params
from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, read_decisions, write_readmitted
from components.datasets.withdrawn import record
from components.registry.starter import BUNDLE
from components.training.earlier import Earlier
from pipelines import dag, inputs
from pipelines.project import load
from tests.trees import tree_sha256


def write(root: Path, params: dict) -> str:
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    inputs.write(load(root), Layout(root))
    return tree_sha256(root / "data" / "inputs")


def test_defaults_are_filled_in(project: Path) -> None:
    write(project, {"datasets": ["synthetic"]})
    resolved = yaml.safe_load((project / "data/inputs/params.yaml").read_text())
    assert resolved["alignment"]["rate_hz"] == Params().alignment.rate_hz
    assert "sources" not in resolved


def test_a_dataset_needs_no_section(project: Path) -> None:
    write(project, {"datasets": ["synthetic"]})
    written = read_json(project / "data/inputs/synthetic.json")
    assert written["options"]["subjects"] > 0
    assert written["files"] == {}


def test_a_written_default_is_no_change(project: Path) -> None:
    bare = write(project, {"datasets": ["synthetic"]})
    assert write(project, {"datasets": ["synthetic"], "seed": Params().seed, "alignment": {}}) == bare
    assert write(project, {"datasets": ["synthetic"], "seed": 8}) != bare


def test_machines_that_run_a_training_differently_share_a_lock(project: Path) -> None:
    bare = write(project, {"datasets": ["synthetic"]})
    running = {"runtime": {"workers": 4, "use_gpu": True}, "ray": {"num_cpus": 64}, "features": {"actors": 9}}
    assert write(project, {"datasets": ["synthetic"], **running}) == bare
    assert write(project, {"datasets": ["synthetic"], "train": {"epochs": 7}}) != bare


def test_a_corpus_outside_the_project_is_watched(project: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    (corpus / "Actor_01").mkdir(parents=True)
    clip = corpus / "Actor_01" / "03-01-01-01-01-01-01.wav"
    clip.write_bytes(b"one")
    params = {"datasets": ["ravdess"], "ravdess": {"root": str(corpus)}}
    first = write(project, params)
    assert write(project, params) == first
    clip.write_bytes(b"other")
    changed = write(project, params)
    assert changed != first
    (recordings,) = read_json(project / "data/inputs/ravdess.json")["files"].values()
    assert set(recordings) == {"count", "bytes", "fingerprint"}
    (corpus / "Actor_01" / "notes.txt").write_text("new")
    assert write(project, params) != changed
    (both,) = read_json(project / "data/inputs/ravdess.json")["files"].values()
    assert (both["texts"]["count"], both["recordings"]) == (
        1,
        {key: recordings[key] for key in ("count", "fingerprint")},
    )


def test_copies_of_one_corpus_are_one_input(project: Path, tmp_path: Path) -> None:
    """A file's time says nothing about its content: a copy, a clone and an unpacked archive each have times of their
    own. Of a folder that was only touched nothing is new either, and what systems leave there is no part of it."""
    corpus, aside = tmp_path / "corpus", tmp_path / "aside"
    for name in ("a/1.wav", "b/2.wav", "crops/00001.jpg", "crops/00002.jpg", "notes.txt"):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_bytes(name.encode())
    params = {"datasets": ["ravdess"], "ravdess": {"root": str(corpus)}}
    first = write(project, params)
    for at, path in enumerate(sorted(corpus.rglob("*"))):
        os.utime(path, (at + 1, at + 1))
    assert write(project, params) == first
    shutil.copytree(corpus, aside, copy_function=shutil.copyfile)
    shutil.rmtree(corpus)
    shutil.copytree(aside, corpus, copy_function=shutil.copyfile)
    (corpus / "._1.wav").write_bytes(b"x")
    (corpus / "a" / ".DS_Store").write_bytes(b"x")
    shutil.rmtree(project / ".mer")
    assert write(project, params) == first
    for name in ("a/1.wav", "crops/00002.jpg"):
        before = (corpus / name).read_bytes()
        (corpus / name).write_bytes(before[::-1])
        os.utime(corpus / name, (9, 9))
        assert write(project, params) != first
        (corpus / name).write_bytes(before)
    assert write(project, params) == first


def test_a_file_beside_the_corpus_is_watched(project: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    units = tmp_path / "units.npz"
    units.write_bytes(b"one")
    params = {"datasets": ["ravdess"], "ravdess": {"root": str(tmp_path / "corpus"), "face_au": str(units)}}
    first = write(project, params)
    assert write(project, params) == first
    units.write_bytes(b"other")
    assert write(project, params) != first


def test_a_withdrawal_concerns_its_own_dataset(project: Path) -> None:
    params = {"datasets": ["synthetic", "emodb"], "emodb": {"root": "nowhere"}}
    write(project, params)
    before = {name: read_json(project / f"data/inputs/{name}.json") for name in params["datasets"]}
    assert before["synthetic"]["withdrawn"] == []
    entry = record(project, "synthetic", "synthetic/s001", day=date(2026, 3, 1))
    write(project, params)
    assert read_json(project / "data/inputs/emodb.json") == before["emodb"]
    assert read_json(project / "data/inputs/synthetic.json")["withdrawn"] == [[entry.salt, entry.sha256]]


def test_order_on_disk_does_not_count(project: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in "abc":
        (corpus / name).write_text(name)
        os.utime(corpus / name, (1, 1))
    params = {"datasets": ["ravdess"], "ravdess": {"root": str(corpus)}}
    first = write(project, params)
    shutil.rmtree(corpus)
    corpus.mkdir()
    for name in "cba":
        (corpus / name).write_text(name)
        os.utime(corpus / name, (1, 1))
    assert write(project, params) == first


def test_an_option_of_a_dataset_is_checked(project: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'subjects'"):
        write(project, {"datasets": ["synthetic"], "synthetic": {"subject": 3}})


def test_only_what_changed_is_pending(project_with_code: Path) -> None:
    """Before any run everything is; the reasons name the outputs that are missing."""
    write(project_with_code, {"datasets": ["synthetic"]})
    assert "data/trained deleted" in dag.changed(project_with_code)["train"]
    assert dag.ALWAYS not in dag.changed(project_with_code)


def test_a_decision_reaches_only_the_stage_that_it_is_for(project: Path) -> None:
    params = {"datasets": ["synthetic"]}
    write(project, params)
    layout = Layout(project)
    stages = ("datasets", "alignment", "features", "validation")
    before = {stage: layout.decisions("synthetic", stage).read_bytes() for stage in stages}
    mine = Readmitted(dataset="synthetic", clip_id="synthetic/a", stage="alignment", code="truncated", how="again")
    write_readmitted(layout.readmitted, [mine, replace(mine, dataset="ravdess")])
    write(project, params)
    changed = {stage for stage in stages if layout.decisions("synthetic", stage).read_bytes() != before[stage]}
    assert changed == {"alignment"}
    assert read_decisions(layout.decisions("synthetic", "alignment")).tries == {"synthetic/a": 1}


def test_a_baseline_is_an_input_and_its_absence_too(project: Path) -> None:
    params = {"datasets": ["synthetic"]}
    layout = Layout(project)
    first = write(project, params)
    assert read_json(layout.reference("synthetic")) is None
    write_json(layout.baseline("synthetic"), {"clips": 3})
    assert write(project, params) != first
    assert read_json(layout.reference("synthetic")) == {"clips": 3}


def test_the_version_to_start_from_is_an_input(project: Path) -> None:
    layout = Layout(project)
    without = write(project, {"datasets": ["synthetic"]})
    assert Earlier.read(layout.start) is None
    assert write(project, {"datasets": ["synthetic"], "train": {"start_from": "starter"}}) != without
    starter = Earlier.read(layout.start)
    assert starter is not None
    assert set(starter.corpora.values()) == {"recorded"}
    assert starter.spec.names == ("face", "voice", "text")
    write(project, {"datasets": ["synthetic"], "train": {"start_from": str(BUNDLE)}})
    named = Earlier.read(layout.start)
    assert named is not None
    assert named.bundle_sha256 == starter.bundle_sha256
    with pytest.raises(ConfigError, match="An alias has to be written as the number"):
        write(project, {"datasets": ["synthetic"], "train": {"start_from": "champion"}})


def test_without_a_starter_nothing_starts_from_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.registry.starter.BUNDLE", project / "nothing")
    with pytest.raises(ConfigError, match="this installation has no starter"):
        write(project, {"datasets": ["synthetic"], "train": {"start_from": "starter"}})
    (project / "params.yaml").write_text("datasets: [synthetic]\ntrain: {start_from: 12}\n")
    assert load(project).train.start_from == "12"
