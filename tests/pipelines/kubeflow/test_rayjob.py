from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.contracts.errors import ConfigError
from pipelines.kubeflow.rayjob import manifest
from tests.pipelines.projects import TINY


def test_the_whole_pipeline(project: Path) -> None:
    job = yaml.safe_load(manifest(overlay="prod"))
    assert job["metadata"]["name"] == "mer-run"
    assert job["spec"]["entrypoint"].endswith("pipelines.cli run --code same'")


def test_one_stage_has_a_name_of_its_own(project: Path) -> None:
    job = yaml.safe_load(manifest(stage="alignment@synthetic"))
    assert job["metadata"]["name"] == "mer-run-alignment-synthetic"
    assert job["spec"]["entrypoint"].endswith("run --code same --only alignment@synthetic'")


def test_a_name_of_several_stages_is_refused(project: Path) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump({**TINY, "datasets": ["synthetic", "ravdess"]}))
    with pytest.raises(ConfigError, match="alignment@synthetic, alignment@ravdess"):
        manifest(stage="alignment")


def test_an_unknown_overlay_names_the_nearest(project: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'prod'"):
        manifest(overlay="prd")
