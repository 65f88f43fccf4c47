from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from components.contracts.atomic import write_json
from components.contracts.config import Params
from components.contracts.layout import Layout
from pipelines import summary
from pipelines.stage import Timing


def scores(value: float | None, low: float | None = None, high: float | None = None) -> dict:
    return {"macro_f1": {"value": value, "low": low, "high": high}}


METRICS = {
    "level": "clip",
    "subsets": {"face": scores(0.3, 0.2, 0.4), "face+voice": scores(0.5, 0.4, 0.6), "voice": scores(0.2)},
    "baselines": {"majority": scores(0.1, 0.05, 0.2)},
}


def drawn(thing: object) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(thing)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_figures_stand_with_their_intervals_most_modalities_first() -> None:
    text = drawn(summary.figures(METRICS, 0.9))
    assert "90% intervals" in text
    assert "0.500 [0.40, 0.60]" in text
    rows = [line.split()[0] for line in text.splitlines() if "0." in line]
    assert rows == ["face+voice", "face", "voice", "(majority)"]


def test_a_figure_without_an_interval_is_shown_alone() -> None:
    (row,) = [line for line in drawn(summary.figures(METRICS, 0.9)).splitlines() if line.strip().startswith("voice")]
    assert "0.200" in row
    assert "[" not in row


def test_it_fits_a_terminal_of_80_columns() -> None:
    names = {"face+voice+text+physio": {**scores(0.5, 0.4, 0.6), "accuracy": scores(0.5, 0.4, 0.6)["macro_f1"]}}
    assert "…" not in drawn(summary.figures({"subsets": names}, 0.95))


def test_no_figures_no_table() -> None:
    assert summary.figures({}, 0.95) is None


def test_it_points_to_what_is_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert not any("Report" in line for line in summary.pointers(layout, Params()))
    layout.evaluated.mkdir(parents=True)
    (layout.evaluated / "report.html").touch()
    layout.registered.mkdir(parents=True)
    registered = {"model_name": "mer", "bundle_sha256": "ab" * 32, "gates_passed": False}
    write_json(layout.registered / "registered.json", registered)
    facts = {"version": "3", "bundle_sha256": "ab" * 32}
    note = Timing(stage="register", seconds=1.0, exit_code=0, error=None, run_id="r", facts=facts)
    write_json(layout.state / "timings" / "register.json", asdict(note))
    shown = "\n".join(summary.pointers(layout, Params()))
    assert "mer version 3, bundle abababababab, gates not passed" in shown
    assert "data/evaluated/report.html" in shown
    assert "Served      nothing until a version has the alias 'champion'" in shown
    assert not (tmp_path / ".mer" / "mlflow.db").exists()


def test_stages_that_did_not_run_are_unchanged() -> None:
    console = Console(file=io.StringIO(), width=80)
    done = [Timing(stage="train", seconds=2.5, exit_code=0, error=None, run_id="r")]
    summary.print_timings(["catalog", "train"], done, seconds=3.0, peak_bytes=3 << 30, console=console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert any("catalog" in line and "unchanged" in line for line in lines)
    assert any("train" in line and "2.5 s" in line for line in lines)
    assert any("3.0 GiB" in line for line in lines)


def test_outputs_of_a_dataset_that_is_no_longer_used_are_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for folder in (layout.dataset("synthetic"), layout.features("synthetic"), layout.features("emodb")):
        folder.mkdir(parents=True)
    (layout.features("emodb").parent / ".emodb.1.old").mkdir()
    assert summary.unused_datasets(layout, Params()) == ["emodb"]
    assert any("Not in use  emodb" in line for line in summary.pointers(layout, Params()))
    assert not any("Not in use" in line for line in summary.pointers(Layout(tmp_path / "fresh"), Params()))
