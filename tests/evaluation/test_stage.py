from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.atomic import read_json, write_json
from components.contracts.errors import ModelError
from components.training.earlier import Taken
from pipelines.stages import call_stage
from tests.model.toys import toy_spec
from tests.registry.projects import TOY, EvaluatedProject
from tests.training.earlier import write_earlier
from tests.trees import tree_sha256

pytestmark = pytest.mark.integration


def test_the_stage_is_a_pure_function_of_what_it_reads(evaluated_project: EvaluatedProject, tmp_path: Path) -> None:
    params, layout = evaluated_project.params, evaluated_project.copied(tmp_path)
    write_earlier(layout.compared, toy_spec(), corpora={"toy": "recorded", "older": "recorded"})
    started = Taken(
        name="first", bundle_sha256="cd" * 32, corpora={"toy": "rendered"}, modalities=("voice",), classes=("a", "b")
    )
    write_json(layout.started, started.to_json())
    summary = call_stage("evaluate", params, layout)
    figures = read_json(layout.evaluated / "metrics.json")
    assert figures["compared"]["test_people_of_its_corpora"] == {"toy": 4}
    assert figures["compared"]["items"] == TOY.clips
    assert figures["started_from"]["test_people_of_its_corpora"] == {"toy": 4}
    page = (layout.evaluated / "report.html").read_text(encoding="utf-8")
    assert "<h2>Beside starter</h2>" in page
    assert "trained on older, toy" in page
    assert page.count("may have learned from people of the test split") == 2
    assert "Training started from first (bundle cdcdcdcdcdcd): voice and 2 classes taken over." in page
    assert summary["rows"][0]["subset"] == "face+voice+text"
    assert {row["subset"] for row in summary["rows"]} >= {"face", "voice", "text", "face+voice", "majority"}
    first = tree_sha256(layout.evaluated)
    assert call_stage("evaluate", params, layout) == summary
    assert tree_sha256(layout.evaluated) == first
    on_disk = params.model_copy(update={"runtime": params.runtime.model_copy(update={"clips_mb": 0})})
    assert call_stage("evaluate", on_disk, layout) == summary
    assert tree_sha256(layout.evaluated) == first
    assert list(layout.packed.iterdir())
    (layout.trained / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match="cannot read the model"):
        call_stage("evaluate", params, layout)
    assert tree_sha256(layout.evaluated) == first
