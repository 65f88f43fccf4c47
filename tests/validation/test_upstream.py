from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.records import Quarantined
from components.validation.upstream import read_upstream
from tests.validation.tables import ALIGNMENT, ENCODERS, Tiny


def test_everything_is_read_and_quarantine_collected(tmp_path: Path) -> None:
    tiny = Tiny()
    rows = [
        Quarantined(dataset="tiny", clip_id=f"tiny/{stage}", stage=stage, code="c", message="m")
        for stage in ("datasets", "alignment", "features")
    ]
    tiny.quarantined = {row.stage: [row] for row in rows}
    upstream = read_upstream(tiny.write(Layout(tmp_path)), "tiny")
    assert upstream.quarantined == tuple(rows)
    assert upstream.encoders == ENCODERS
    assert (upstream.alignment_fingerprint, upstream.aligned_by) == (ALIGNMENT, (ALIGNMENT,))
    assert upstream.clips.num_rows == upstream.quality.num_rows == upstream.index.num_rows == len(tiny.clips)


@pytest.mark.parametrize(
    ("stage", "file"),
    [("datasets", "clips.parquet"), ("alignment", "quality.parquet"), ("features", "index.parquet")],
)
def test_a_missing_or_damaged_table_names_the_stage_to_run(stage: str, file: str, tmp_path: Path) -> None:
    layout = Tiny().write(Layout(tmp_path))
    folders = {"datasets": layout.dataset, "alignment": layout.aligned, "features": layout.features}
    path = folders[stage]("tiny") / file
    path.write_text("no parquet")
    with pytest.raises(DataError, match="not a Parquet file") as caught:
        read_upstream(layout, "tiny")
    assert f"`{stage}`" in str(caught.value)
    path.unlink()
    with pytest.raises(DataError, match=f"the stage `{stage}` has not run"):
        read_upstream(layout, "tiny")
