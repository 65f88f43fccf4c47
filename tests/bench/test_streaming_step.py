from __future__ import annotations

from pathlib import Path

from bench.report import Comparison
from bench.streaming_step import BENCHMARK, GOAL, Sizes, run


def test_a_row_a_set_of_modalities(tmp_path: Path) -> None:
    sizes = Sizes(modalities=({"face": 3}, {"face": 3, "voice": 2}), early_s=1.0, late_s=18.0, pairs=3, warmup=1)
    rows = [row for row in run(sizes, tmp_path) if isinstance(row, Comparison)]
    assert ["face + voice" in row.what for row in rows] == [False, True]
    for row in rows:
        assert (row.pairs, row.goal, row.kind) == (3, GOAL, "cost")
        assert (row.baseline.name, row.ours.name) == ("after 1 s", "after 18 s")
        # What is remembered has one size, however long the stream is.
        assert row.baseline.detail == row.ours.detail
        assert row.baseline.detail.startswith("state ")


def test_the_full_sizes_are_ten_seconds_and_ten_minutes() -> None:
    assert (BENCHMARK.full.early_s, BENCHMARK.full.late_s) == (10.0, 600.0)
