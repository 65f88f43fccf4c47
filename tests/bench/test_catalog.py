from __future__ import annotations

from pathlib import Path

from bench.catalog import CLIPS_OF_A_PERSON, measure, write_accepted


def test_a_catalog_of_made_up_clips_is_measured(tmp_path: Path) -> None:
    clips = 3 * CLIPS_OF_A_PERSON
    write_accepted(tmp_path / "accepted.parquet", clips)
    figures = measure(tmp_path / "accepted.parquet")
    assert figures["clips"] == clips
    assert figures["seconds"] > 0
