from __future__ import annotations

import numpy as np
import pytest

from components.runtime import spilled
from components.runtime.spilled import Spilled


def test_items_come_back_with_their_bits_whether_in_memory_or_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    items = [rng.standard_normal((size, 3)).astype(np.float32) for size in (5, 0, 70, 2)]
    for most in (0, 1 << 20):
        monkeypatch.setattr(spilled, "MEMORY_BYTES", most)
        stored = Spilled(items[:2])
        for item in items[2:]:
            assert stored[-1].tobytes() == stored[len(stored) - 1].tobytes()  # reading does not move where it adds
            stored.append(item)
        assert len(stored) == len(items)
        for found in (list(stored), stored[:], [stored[place] for place in range(-4, 0)]):
            assert [item.tobytes() for item in found] == [item.tobytes() for item in items]
        assert [item.shape for item in stored[1:3]] == [(0, 3), (70, 3)]
        with pytest.raises(IndexError):
            stored[4]
    assert list(Spilled()) == []
