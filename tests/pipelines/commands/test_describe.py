from __future__ import annotations

from pathlib import Path

from pipelines import dag
from pipelines.commands.describe import pipeline


def test_every_stage_with_what_it_reads_and_writes(project: Path) -> None:
    shown = pipeline()
    for node in dag.read(project):
        assert f"{node.address}: {node.description}" in shown
        for path in (*node.deps, *node.outs):
            assert path in shown


def test_short_is_one_line_a_stage(project: Path) -> None:
    assert len(pipeline(short=True).splitlines()) == len(dag.read(project))
