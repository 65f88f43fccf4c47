from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.runtime import disk_cache
from components.runtime.disk_cache import PAGE_BYTES, DiskCache

PAGES = 20


def content(number: int, pages: int = 1) -> bytes:
    return bytes([number % 251]) * (pages * PAGE_BYTES)


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


class Store:
    """Counts what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[int] = []

    def fetch(self, number: int, pages: int = 1) -> Callable[[], bytes]:
        def fetch() -> bytes:
            self.fetched.append(number)
            return content(number, pages)

        return fetch


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache, store = DiskCache(tmp_path, PAGES * PAGE_BYTES), Store()

    def get(number: int) -> None:
        assert cache.get(number * PAGE_BYTES, PAGE_BYTES, store.fetch(number)) == content(number)
        assert bytes_in(tmp_path) <= PAGES * PAGE_BYTES

    for number in range(PAGES):
        get(number)
    get(0)  # used again, so the next to go are 1 and those after it
    assert store.fetched == list(range(PAGES))
    get(PAGES)
    store.fetched.clear()
    get(0)
    get(PAGES)
    get(PAGES - 1)
    assert store.fetched == []
    get(1)
    assert store.fetched == [1]


def test_two_processes_share_the_room(tmp_path: Path) -> None:
    one, other = (DiskCache(tmp_path, PAGES * PAGE_BYTES) for _ in range(2))
    store = Store()
    for number in range(3 * PAGES):
        (one if number % 2 else other).get(number * PAGE_BYTES, PAGE_BYTES, store.fetch(number))
        assert bytes_in(tmp_path) <= PAGES * PAGE_BYTES
    last = 3 * PAGES - 1
    assert other.get(last * PAGE_BYTES, PAGE_BYTES, store.fetch(-1)) == content(last)


def test_whoever_reads_while_others_push_out_has_all_bytes(tmp_path: Path) -> None:
    cache, store = DiskCache(tmp_path, 4 * 3 * PAGE_BYTES), Store()
    wrong: list[int] = []

    def read(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 16, 200).tolist():
            if cache.get(number * PAGE_BYTES, 3 * PAGE_BYTES, store.fetch(number, 3)) != content(number, 3):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert bytes_in(tmp_path) <= 4 * 3 * PAGE_BYTES


def test_what_is_half_written_or_too_much_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    DiskCache(tmp_path, 2 * PAGE_BYTES).get(0, PAGE_BYTES, store.fetch(0))
    (path,) = tmp_path.glob("*/0")
    path.write_bytes(b"cut off")
    (path.parent / ".killed.tmp").write_bytes(content(1, 5))
    cache = DiskCache(tmp_path, 2 * PAGE_BYTES)
    assert not (path.parent / ".killed.tmp").exists()
    assert cache.get(0, PAGE_BYTES, store.fetch(0)) == content(0)
    assert cache.get(7, 9 * PAGE_BYTES, store.fetch(7, 9)) == content(7, 9)  # more than there is room for
    assert DiskCache(tmp_path / "none", 0).get(0, PAGE_BYTES, store.fetch(0)) == content(0)
    assert bytes_in(tmp_path) <= 2 * PAGE_BYTES
    assert bytes_in(tmp_path / "none") == 0

    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(disk_cache.Path, "write_bytes", full)
    assert cache.get(3 * PAGE_BYTES, PAGE_BYTES, store.fetch(3)) == content(3)


def test_what_is_dropped_is_fetched_again_and_leaves_its_room(tmp_path: Path) -> None:
    cache, store = DiskCache(tmp_path, 4 * PAGE_BYTES), Store()
    for number in range(3):
        cache.get(number * PAGE_BYTES, PAGE_BYTES, store.fetch(number))
    cache.drop(PAGE_BYTES)
    cache.drop(9 * PAGE_BYTES)  # never was here
    assert bytes_in(tmp_path) == 2 * PAGE_BYTES
    store.fetched.clear()
    for number in (0, 1, 2, 3):  # with what was dropped counted as there, one of these would have had to go
        cache.get(number * PAGE_BYTES, PAGE_BYTES, store.fetch(number))
    assert store.fetched == [1, 3]
    assert bytes_in(tmp_path) == 4 * PAGE_BYTES


def test_how_much_of_a_shuffled_corpus_is_found(tmp_path: Path) -> None:
    """With room for a share c of them c + (1 - c) ln(1 - c); the cache keeps between 0.9 and all of its room."""
    files, epochs = 120, 3
    cache, store, rng = DiskCache(tmp_path, files // 2 * PAGE_BYTES), Store(), np.random.default_rng(0)
    for _ in range(1 + epochs):
        for number in rng.permutation(files).tolist():
            cache.get(number * PAGE_BYTES, PAGE_BYTES, store.fetch(number))
    found = 1 - (len(store.fetched) - files) / (epochs * files)
    least, most = (share + (1 - share) * np.log(1 - share) for share in (0.45, 0.5))
    assert least - 0.04 < found < most + 0.04
