from __future__ import annotations

import errno
import tempfile

import numpy as np
import pytest

from components.contracts.errors import UnavailableError
from components.runtime import spilled
from components.runtime.on_demand import OnDemand
from components.runtime.spilled import Spilled, SpilledRows, kept_like


def test_items_come_back_with_their_bits_whether_in_memory_or_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    items = [rng.standard_normal((size, 3)).astype(np.float32) for size in (5, 0, 70, 2)]
    for most in (1, 1 << 20):
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


@pytest.mark.parametrize("most", [1, 100, 1 << 20])
def test_rows_come_back_as_one_array_with_their_bits(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(spilled, "MEMORY_BYTES", most)
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((count, 3)).astype(np.float32) for count in (5, 0, 70, 2)]
    rows = SpilledRows()
    for part in parts:
        rows.append(part)
    assert len(rows) == 77
    found = rows.array()
    assert (found.dtype, found.tobytes()) == (np.float32, np.concatenate(parts).tobytes())
    assert not found.flags.writeable
    np.testing.assert_array_equal(found[6:60], np.concatenate(parts)[6:60])


def test_rows_of_a_different_shape_or_type_are_refused_and_none_are_an_empty_array() -> None:
    rows = SpilledRows()
    assert rows.array().size == len(rows) == 0
    rows.append(np.zeros((0, 3), dtype=np.float32))
    assert (rows.array().shape, rows.array().dtype) == ((0, 3), np.float32)
    for other in (np.zeros((1, 2), dtype=np.float32), np.zeros((1, 3))):
        with pytest.raises(ValueError, match=r"among those of \(3,\) float32"):
            rows.append(other)


def test_what_is_kept_of_clips_on_disk_is_on_disk() -> None:
    assert isinstance(kept_like(OnDemand(str, np.arange(3))), Spilled)
    assert kept_like([1, 2]) == []


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spilled, "MEMORY_BYTES", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(UnavailableError, match="the disk is full"):
        Spilled(["an item"])
    rows = SpilledRows()
    with pytest.raises(UnavailableError, match="the disk is full"):
        rows.append(np.zeros((4, 3)))
