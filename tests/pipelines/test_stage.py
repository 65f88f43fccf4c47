from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import ConfigError, DataError
from components.contracts.layout import Layout
from pipelines.stage import PROFILE_VARIABLE, RUN_ID_VARIABLE, address, run_stage, timings


@pytest.fixture(autouse=True)
def run_id(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(RUN_ID_VARIABLE, "this")
    return "this"


def test_a_stage_gets_configuration_and_layout_and_is_noted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work(params, layout):
        assert layout.root == project
        return {"clips": params.seed, "share": 0.123456, "nested": {"not": "shown"}}

    assert run_stage("train", work)["clips"] == 7
    (noted,) = timings(Layout(project), "this")
    assert (noted.stage, noted.exit_code, noted.error) == ("train", 0, None)
    assert "train: clips 7, share 0.1235 (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("no clips", where="x"), 3, "x: no clips"),
        (ValueError("first\nsecond"), 1, "ValueError: first"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_failure_is_noted_with_its_exit_code(project: Path, error: BaseException, code: int, text: str) -> None:
    def work(params, layout):
        raise error

    with pytest.raises(type(error)):
        run_stage("features", work, item="synthetic")
    (noted,) = timings(Layout(project), "this")
    assert (noted.stage, noted.exit_code, noted.error) == ("features@synthetic", code, text)


def test_a_wrong_configuration_is_noted_too(project: Path) -> None:
    (project / "params.yaml").write_text("datasets: [nothing]\n")
    with pytest.raises(ConfigError):
        run_stage("train", lambda params, layout: {})
    assert timings(Layout(project), "this")[0].exit_code == 2


def test_notes_of_a_different_run_do_not_count(project: Path) -> None:
    run_stage("train", lambda params, layout: {})
    assert timings(Layout(project), "different") == []


def test_a_run_may_ask_for_a_trace_of_its_training(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def work(params, layout):
        asked.append(params.runtime.profile_steps)

    run_stage("train", work)
    monkeypatch.setenv(PROFILE_VARIABLE, "5")
    run_stage("train", work)
    assert asked == [0, 5]


def test_addresses() -> None:
    assert address("train") == "train"
    assert address("features", "ravdess") == "features@ravdess"
