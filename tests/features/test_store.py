from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.contracts.errors import DataError
from components.features import store as store_module
from components.features.base import Encoded
from components.features.store import FeatureStore, feature_key


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def clip(seed: int, steps: int = 7, width: int = 5) -> Encoded:
    rng = np.random.default_rng(seed)
    return Encoded(rng.standard_normal((steps, width)).astype(np.float32), rng.random(steps) > 0.3)


def corpus(count: int, width: int = 5) -> dict[str, Encoded]:
    return {key(f"clip {index}"): clip(index, 3 + index % 5, width) for index in range(count)}


def bytes_of(store: FeatureStore, modality: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.shards(modality)}


def test_what_is_written_is_read_bit_by_bit(tmp_path: Path) -> None:
    store, encoded = FeatureStore(tmp_path), corpus(6)
    store.write("voice", encoded)
    wanted = sorted(encoded, reverse=True)[1:4]
    found = store.read("voice", wanted)
    assert list(found) == wanted
    for name in wanted:
        np.testing.assert_array_equal(found[name].values, encoded[name].values)
        np.testing.assert_array_equal(found[name].valid, encoded[name].valid)
        assert found[name].values.dtype == np.float32
    assert store.keys("voice") == frozenset(encoded)
    assert store.keys("text") == frozenset()
    assert store.width("voice") == 5
    assert store.width("text") is None


def test_values_are_a_fixed_shape_tensor_column(tmp_path: Path) -> None:
    shard = FeatureStore(tmp_path).write("voice", corpus(2))
    assert shard is not None
    table = pq.read_table(shard)
    assert table.column_names == ["key", "step", "valid", "values"]
    assert table.schema.field("values").type.extension_name == "arrow.fixed_shape_tensor"
    assert table.schema.field("values").type.shape == [5]
    assert shard.name == f"shard-{hashlib.sha256(shard.read_bytes()).hexdigest()}.parquet"


def test_compaction_gives_the_same_bytes_whatever_came_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SHARD_BYTES", 400)
    encoded = corpus(40)
    at_once, piecewise = FeatureStore(tmp_path / "a"), FeatureStore(tmp_path / "b")
    at_once.write("voice", encoded)
    at_once.compact("voice", encoded.keys())
    names = sorted(encoded, key=lambda name: name[::-1])
    for start in range(0, len(names), 7):
        piecewise.write("voice", {name: encoded[name] for name in names[start : start + 7]})
    piecewise.write("voice", {key("gone"): clip(99)})
    piecewise.compact("voice", encoded.keys())
    assert bytes_of(at_once, "voice") == bytes_of(piecewise, "voice")
    assert len(bytes_of(at_once, "voice")) > 1
    assert piecewise.keys("voice") == frozenset(encoded)


def test_compaction_keeps_untouched_shards_and_is_idempotent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SHARD_BYTES", 1000)
    store, encoded = FeatureStore(tmp_path), corpus(40)
    store.write("voice", encoded)
    store.compact("voice", encoded.keys())
    before = bytes_of(store, "voice")
    store.compact("voice", encoded.keys())
    assert bytes_of(store, "voice") == before
    dropped = sorted(encoded)[0]
    store.compact("voice", encoded.keys() - {dropped})
    after = bytes_of(store, "voice")
    assert dropped not in store.keys("voice")
    assert 0 < len(before.keys() - after.keys()) < len(before)
    found = store.read("voice", encoded.keys() - {dropped})
    for name, item in found.items():
        np.testing.assert_array_equal(item.values, encoded[name].values)


def test_compaction_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write("voice", corpus(2))
    store.compact("voice", [])
    assert not (tmp_path / "voice").exists()


def test_an_encoder_of_another_width_may_follow(tmp_path: Path) -> None:
    store, old, new = FeatureStore(tmp_path), corpus(4, width=5), {key("new"): clip(1, width=9)}
    store.write("voice", old)
    store.write("voice", new)
    with pytest.raises(DataError, match="several widths"):
        store.width("voice")
    store.compact("voice", new.keys())
    assert store.width("voice") == 9


def test_only_needed_row_groups_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "GROUP_BYTES", 200)
    store, encoded = FeatureStore(tmp_path), corpus(30)
    shard = store.write("voice", encoded)
    assert shard is not None
    groups = pq.ParquetFile(shard).num_row_groups
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, *args: object, **kwargs: object) -> object:
        read.append(group)
        return original(self, group, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    store.read("voice", [sorted(encoded)[3]])
    assert len(read) == 1 < groups


def test_missing_keys_are_named(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write("voice", corpus(3))
    with pytest.raises(DataError, match="1 of 2 keys are not in the feature store") as caught:
        store.read("voice", [*sorted(corpus(1)), key("absent")])
    assert key("absent") in str(caught.value)
    with pytest.raises(DataError, match="not in the feature store"):
        store.compact("voice", [key("absent")])
    assert len(store.keys("voice")) == 3


@pytest.mark.parametrize("harm", ["truncated", "not parquet", "a page overwritten"])
def test_a_shard_that_cannot_be_read_is_named(tmp_path: Path, harm: str) -> None:
    store, encoded = FeatureStore(tmp_path), corpus(6)
    shard = store.write("voice", encoded)
    assert shard is not None
    content = shard.read_bytes()
    damaged = {
        "truncated": content[:100],
        "not parquet": b"x" * 200,
        "a page overwritten": content[:4] + b"\xff" * 60 + content[64:],
    }
    shard.write_bytes(damaged[harm])
    with pytest.raises(DataError, match=rf"{shard.name}: a feature shard cannot be read;.*Run the features stage"):
        store.read("voice", encoded)


def test_another_width_is_refused(tmp_path: Path) -> None:
    store, encoded = FeatureStore(tmp_path), corpus(3)
    store.write("voice", encoded)
    with pytest.raises(DataError, match="a different width; seen 5; allowed: 8"):
        store.read("voice", encoded, width=8)
    with pytest.raises(DataError, match="several widths"):
        store.write("voice", {key("x"): clip(0, width=5), key("y"): clip(0, width=6)})
    with pytest.raises(DataError, match="without steps"):
        store.write("voice", {key("x"): clip(0, steps=0)})


def test_a_failed_write_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path)

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store_module, "_table", broken)
    with pytest.raises(OSError, match="disk full"):
        store.write("voice", corpus(2))
    assert list((tmp_path / "voice").iterdir()) == []


def test_coverage_is_the_share_of_valid_steps(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    half = Encoded(np.ones((4, 2), np.float32), np.array([True, True, False, False]))
    none = Encoded(np.zeros((2, 2), np.float32), np.zeros(2, bool))
    store.write("voice", {key("half"): half, key("none"): none})
    assert store.coverage("voice", [key("half"), key("none"), key("absent")]) == {key("half"): 0.5, key("none"): 0.0}


def test_a_key_depends_on_content_alignment_and_encoder() -> None:
    keys = {feature_key(*parts) for parts in [("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x")]}
    assert len(keys) == 4
    assert feature_key("a", "b", "c") == feature_key("a", "b", "c")


def test_a_damaged_shard_is_dropped(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    good, bad = store.write("voice", corpus(2)), store.write("voice", {key("x"): clip(5)})
    assert good is not None
    assert bad is not None
    bad.write_bytes(bad.read_bytes()[:-9])
    assert store.drop_damaged("voice") == [bad]
    assert store.shards("voice") == [good]
