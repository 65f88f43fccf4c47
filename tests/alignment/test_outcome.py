from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.alignment.outcome import align_one, packed, unpacked
from components.contracts.records import Clip
from tests.alignment.test_stage import corpus


def test_packing_keeps_a_result(aligner: Aligner, tmp_path: Path) -> None:
    clips = corpus(tmp_path, count=1)
    for clip in clips:
        result = align_one(aligner, clip, tmp_path)
        again = unpacked(clip, packed(result))
        assert again.quality == result.quality
        assert again.quarantined == result.quarantined
        assert (again.row is None) == (result.row is None)
        if result.row is not None:
            assert np.array_equal(again.row["pcm"].to_pylist(), result.row["pcm"].to_pylist())


def test_an_unexpected_error_is_a_row_that_tells_where(
    aligner: Aligner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Aligner, clip: Clip, *, root: Path) -> None:
        raise ZeroDivisionError(f"in {root}/media")

    monkeypatch.setattr(Aligner, "align_ungated", failing)
    refused = align_one(aligner, corpus(tmp_path, count=1)[0], tmp_path).quarantined
    assert refused is not None
    assert refused.code == "internal"
    assert refused.seen is not None
    assert "ZeroDivisionError" in refused.seen
    assert "test_outcome.py:" in refused.seen
    assert str(tmp_path) not in refused.message
