from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.contracts.errors import ConfigError
from pipelines.kubeflow import kustomize
from pipelines.kubeflow.generate import task_name
from pipelines.kubeflow.rayjob import _short, manifest
from tests.pipelines.projects import ROOT, TINY


def test_the_whole_pipeline(project: Path) -> None:
    job = yaml.safe_load(manifest(overlay="prod"))
    assert job["metadata"]["name"] == "mer-run"
    assert job["spec"]["entrypoint"].endswith("pipelines.cli run --code same'")


def test_one_stage_has_a_name_of_its_own(project: Path) -> None:
    job = yaml.safe_load(manifest(stage="alignment@synthetic"))
    assert job["metadata"]["name"] == "mer-run-alignment-synthetic"
    assert job["spec"]["entrypoint"].endswith("run --code same --only alignment@synthetic'")


def test_it_starts_when_it_is_created_and_not_with_its_overlay(project: Path) -> None:
    assert "suspend" not in yaml.safe_load(manifest())["spec"]
    (declared,) = (item for item in kustomize.render(ROOT / "infra/overlays/prod") if item["kind"] == "RayJob")
    assert declared["spec"]["suspend"] is True


def test_a_long_name_is_shortened_and_stays_distinct(project: Path) -> None:
    datasets = [f"a_corpus_with_a_name_of_many_words_{number}" for number in (1, 2)]
    names = [_short(f"mer-run-{task_name(f'alignment@{dataset}')}") for dataset in datasets]
    assert len(set(names)) == 2
    assert all(len(name) <= 47 and name.startswith("mer-run-alignment-a-corpus") for name in names)


def test_a_name_of_several_stages_is_refused(project: Path) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump({**TINY, "datasets": ["synthetic", "ravdess"]}))
    with pytest.raises(ConfigError, match="alignment@synthetic, alignment@ravdess"):
        manifest(stage="alignment")


def test_an_unknown_overlay_names_the_nearest(project: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'prod'"):
        manifest(overlay="prd")
