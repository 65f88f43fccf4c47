from __future__ import annotations

import pytest

from pipelines.stage_host import arguments_of
from pipelines.stages import STAGES


@pytest.mark.parametrize("stage", STAGES.values(), ids=list(STAGES))
def test_the_command_of_every_stage_runs_in_the_host(stage) -> None:
    options = ["--dataset", "my-corpus_2.0"] if stage.per_dataset else []
    assert arguments_of(" ".join(["mer", stage.name, *options])) == [stage.name, *options]


@pytest.mark.parametrize(
    "command",
    [
        "mer",
        "mer run",
        "mer train && rm -r data",
        "mer train > log",
        "python train.py",
        "mer predict a.mp4",
        "MER=1 mer train",
    ],
)
def test_any_other_command_is_left_to_dvc(command: str) -> None:
    assert arguments_of(command) is None
