from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from bench.__main__ import THREAD_VARIABLES, _folder, main
from bench.registry import BENCHMARKS


@pytest.fixture(autouse=True)
def _threads_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "python -m bench --only" in capsys.readouterr().out


def test_the_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(BENCHMARKS)


def test_a_folder_that_is_named_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "some" / "kept"
    with _folder(kept) as folder:
        (folder / "tally.json").touch()
    with _folder(kept) as folder:
        assert (folder / "tally.json").is_file()
    with _folder(None) as other:
        pass
    assert not other.exists()


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "step"]) == 2
    assert "'step'; there are: training-step" in capsys.readouterr().err


def test_table_machine_and_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    assert main(["--only", "streaming-step", "--quick", "--json", str(file), "--threads", "1"]) == 0
    shown = capsys.readouterr()
    assert "| one step of a causal model, face + voice" in shown.out
    assert "1 thread." in shown.out
    assert "Quick run" in shown.out
    assert "step of face + voice: 33/33" in shown.err
    told = json.loads(file.read_text(encoding="utf-8"))
    assert told["quick"] is True
    assert told["machine"]["threads"] == 1
    assert len(told["machine"]["load_before"]) == len(told["load_after"]) == 3
    (row,) = told["benchmarks"]["streaming-step"]
    assert row["pairs"] == 30
    assert isinstance(row["met"], bool)
