"""What a person finds behind the link from an MLflow run to its data, after the real stages before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.atomic import read_json, write_json
from components.contracts.config import Tracking
from components.contracts.layout import Layout
from components.tracking.client import client_of
from components.tracking.spooled import open_run
from components.training.data_docs import log_data_docs
from pipelines.stages import call_stage
from tests.validation.tables import Tiny, tiny_params


@pytest.mark.integration
def test_the_pages_of_the_data_go_with_the_run_and_show_no_other_data(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking = Tracking(uri=mlflow_uri, experiment="data-docs")
    layout = Layout(tmp_path / "project")
    tiny = Tiny()
    bad = tiny.change_clip(0, emotion="happyness")
    tiny.write(layout)
    call_stage("validation", tiny_params(), layout, "tiny")
    described = call_stage("catalog", tiny_params(), layout)

    def logged(name: str) -> dict[str, str]:
        with open_run(tracking, layout.root, inputs_sha256=name, name="toy", folder=tmp_path / "spool" / name) as run:
            log_data_docs(run, layout, described)
        folder = Path(client_of(tracking, layout.root).download_artifacts(run.run_id, "data_docs", str(tmp_path)))
        pages = {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.html"))}
        for path in sorted(folder.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        return pages

    pages = logged("same")
    first = pages["index.html"]
    for said in ("11 clips of 4 people accepted, 1 set aside", "emotion_is_known", "people_of_splits"):
        assert said in first
    assert "no earlier version was accepted" in first
    assert "<a href" not in first  # the viewer of the UI shows one page by itself
    assert any(name.startswith("_catalog/validations/people_of_splits/") for name in pages)
    (clips,) = [text for name, text in pages.items() if name.startswith("tiny/validations/clips/")]
    assert bad in clips

    # Validated elsewhere, or again since: the pages that lie here show something else and stay here.
    result = read_json(layout.validated("tiny") / "result.json")
    write_json(layout.validated("tiny") / "result.json", {**result, "fingerprint": "of another state"})
    assert [name for name in logged("other") if name.startswith("tiny/")] == []
