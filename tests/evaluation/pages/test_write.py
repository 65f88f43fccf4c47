from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json
from components.evaluation.pages import write as pages
from components.evaluation.pages.report import thinned_notes
from components.evaluation.pages.write import summary, write_evaluation
from components.inference.calibration import Calibration
from components.inference.outliers import Reference
from tests.evaluation.made import make_split
from tests.evaluation.test_evaluate import CONFIG, done
from tests.trees import tree_sha256


def write(folder: Path, datasets: tuple[str, ...] = ("tiny",)) -> Path:
    write_evaluation(folder, done(), title="mer on tiny", datasets=datasets, config=CONFIG)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation on disk, for tests that only read it."""
    return write(tmp_path_factory.mktemp("written") / "evaluated")


def test_equal_evaluations_give_equal_bytes_pictures_included(folder: Path, tmp_path: Path) -> None:
    assert tree_sha256(write(tmp_path / "again")) == tree_sha256(folder)


def test_parts_that_are_in_memory_at_a_time_do_not_show_in_the_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(pages, "LINES_AT_ONCE", 3)
    assert tree_sha256(write(tmp_path / "again")) == tree_sha256(folder)
    monkeypatch.setattr(pages, "GROUP_ROWS", 21)
    table = pq.ParquetFile(write(tmp_path / "groups") / "predictions.parquet")
    assert [table.metadata.row_group(group).num_rows for group in range(3)] == [21, 21, 18]
    assert table.read().equals(pq.read_table(folder / "predictions.parquet"))


def test_of_very_many_items_a_note_says_that_some_were_drawn() -> None:
    assert thinned_notes(done().metrics) == []
    many = {**done().metrics, "step": {**done().metrics["step"], "items": 2_000_000}}
    (note,) = thinned_notes(many)
    assert "524,288 of the 2,000,000 labelled items" in note


def test_every_file_is_there_and_reads_back(folder: Path) -> None:
    assert read_json(folder / "metrics.json") == done().metrics
    assert Calibration.from_json(read_json(folder / "calibration.json")) == done().fitted.calibration
    assert set(Reference.load(folder).modalities) == {"face", "voice"}
    assert [gate["name"] for gate in read_json(folder / "gates.json")] == [gate.name for gate in done().gates]
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert [row["clip_id"] for row in rows] == sorted(case.clip_id for case in make_split("test", 5))
    assert len(rows[0]["step_posterior"]) == 30
    right = sum(row["answer"] == row["label"] for row in rows) / len(rows)
    assert abs(right - done().metrics["clip"]["accuracy"]["value"]) < 1e-6
    lines = (folder / "plots" / "confusion.csv").read_text().splitlines()
    assert lines[0] == "actual,predicted"
    assert len(lines) == 1 + len(rows)
    lines = (folder / "plots" / "per-class.csv").read_text().splitlines()
    assert lines[0] == "emotion,f1,low,high,recall,precision,items"
    assert len(lines) == 1 + 4
    kept = (folder / "plots" / "risk-coverage.csv").read_text().splitlines()
    assert kept[0] == "coverage,wrong"
    assert [float(cell) for cell in kept[-1].split(",")] == pytest.approx([1.0, 1 - right], abs=1e-6)
    curve = (folder / "plots" / "reliability-clip.csv").read_text().splitlines()
    assert sum(int(line.rsplit(",", 1)[1]) for line in curve[1:]) == len(rows)


def test_the_report_stands_alone_and_says_what_matters(folder: Path, tmp_path: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("<img ") == len(list((folder / "plots").glob("*.png")))
    for words in (
        "macro-F1",
        "Gates",
        "With fewer modalities",
        "Contradictions",
        "Outside of training",
        "By group",
        "Known failures",
    ):
        assert words in page
    assert "they are no evidence of how well it works on real people" not in page
    note = (write(tmp_path / "synthetic", ("synthetic",)) / "report.html").read_text(encoding="utf-8")
    assert "they are no evidence of how well it works on real people" in note


def test_the_summary_has_a_row_a_pattern() -> None:
    found = summary(done(), True)
    assert [row["subset"] for row in found["rows"]][:3] == ["face+voice", "face", "voice"]
    assert found["rows"][0]["clips"] == 60
    assert found["rows"][0]["low"] <= found["rows"][0]["macro_f1"] <= found["rows"][0]["high"]
