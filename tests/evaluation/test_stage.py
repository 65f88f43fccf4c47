from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import ModelError
from pipelines.stages import call_stage
from tests.registry.projects import make_params, make_project
from tests.trees import tree_sha256

pytestmark = pytest.mark.integration


def test_the_stage_is_a_pure_function_of_what_it_reads(tmp_path: Path, mlflow_uri: str) -> None:
    params = make_params(mlflow_uri, "evaluate-stage")
    layout = make_project(tmp_path, params, upto="train")
    summary = call_stage("evaluate", params, layout)
    assert summary["rows"][0]["subset"] == "face+voice+text"
    assert {row["subset"] for row in summary["rows"]} >= {"face", "voice", "text", "face+voice", "majority"}
    first = tree_sha256(layout.evaluated)
    assert call_stage("evaluate", params, layout) == summary
    assert tree_sha256(layout.evaluated) == first
    (layout.trained / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match="cannot read the model"):
        call_stage("evaluate", params, layout)
    assert tree_sha256(layout.evaluated) == first
