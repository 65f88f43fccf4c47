from __future__ import annotations

from pathlib import Path

from pipelines import dag
from pipelines.commands.describe import pipeline


def test_every_stage_with_its_inputs_and_outputs(project: Path) -> None:
    shown = pipeline()
    for node in dag.read(project):
        assert f"{node.address}: {node.description}" in shown
        for path in (*node.deps, *node.outs):
            assert path in shown


def test_short_is_one_line_per_stage(project: Path) -> None:
    assert len(pipeline(short=True).splitlines()) == len(dag.read(project))
