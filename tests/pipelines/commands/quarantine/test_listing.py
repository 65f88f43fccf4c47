from __future__ import annotations

import json
from pathlib import Path

from components.contracts.atomic import write_table
from components.contracts.layout import Layout
from components.contracts.records import Quarantined, quarantine_table
from pipelines.commands.quarantine.listing import listing


def aside(project: Path) -> None:
    layout = Layout(project)
    for folder, stage in ((layout.dataset("synthetic"), "datasets"), (layout.aligned("synthetic"), "alignment")):
        row = Quarantined(
            dataset="synthetic",
            clip_id=f"synthetic/{stage}",
            stage=stage,
            code="zero-bytes",
            message="the file is empty",
        )
        write_table(folder / "quarantine.parquet", quarantine_table([row]))


def test_an_empty_quarantine(project: Path) -> None:
    assert listing() == "Nothing was set aside."


def test_every_stages_quarantine_is_listed_with_its_reason(project: Path) -> None:
    aside(project)
    shown = listing()
    assert "synthetic/datasets  [datasets: zero-bytes]\n    the file is empty" in shown
    assert shown.endswith("\n2 set aside")


def test_rows_repeated_by_validation_are_listed_once(project: Path) -> None:
    aside(project)
    layout = Layout(project)
    upstream = [
        Quarantined(dataset="synthetic", clip_id=f"synthetic/{stage}", stage=stage, code="zero-bytes", message="empty")
        for stage in ("datasets", "alignment")
    ]
    own = Quarantined(dataset="synthetic", clip_id="synthetic/c", stage="validation", code="span", message="too long")
    write_table(layout.validated("synthetic") / "quarantine.parquet", quarantine_table([*upstream, own]))
    assert listing().endswith("\n3 set aside")


def test_one_stage_as_json(project: Path) -> None:
    aside(project)
    (row,) = [json.loads(line) for line in listing(stage="alignment", as_json=True).splitlines()]
    assert row["clip_id"] == "synthetic/alignment"


def test_a_different_dataset_has_none(project: Path) -> None:
    aside(project)
    assert listing(dataset="ravdess") == "Nothing was set aside."
