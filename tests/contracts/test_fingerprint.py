from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from components.contracts.fingerprint import ListFingerprint, file_digest, file_sha256, fingerprint
from tests.trees import tree_sha256


def test_key_order_does_not_matter_and_values_do() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})


def test_nan_has_no_fingerprint() -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(float("nan"))


@pytest.mark.parametrize("before", [(), ("own", ["a", "b"])])
@pytest.mark.parametrize("parts", [[], [[]], [[1]], [[{"b": 1, "a": None}], [], [["ü", "\udcff"], 0.1]]])
def test_a_list_in_parts_has_the_fingerprint_of_the_list(before: tuple[Any, ...], parts: list[list[Any]]) -> None:
    items = [item for part in parts for item in part]
    own = ListFingerprint(*before)
    for part in parts:
        own.add(part)
    assert own.hexdigest() == own.hexdigest() == fingerprint([*before, items] if before else items)


def test_a_file_hash_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    assert file_sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_a_file_digest_is_hashlibs_whatever_the_size(kind: str, tmp_path: Path) -> None:
    for content in (b"", b"y", b"x" * 3_000_001):
        (tmp_path / "a").write_bytes(content)
        assert file_digest(tmp_path / "a", kind) == hashlib.new(kind, content).hexdigest()


def test_a_tree_hash_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("1")
    before = tree_sha256(tmp_path)
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "b")
    renamed = tree_sha256(tmp_path)
    (tmp_path / "d" / "b").write_text("2")
    assert len({before, renamed, tree_sha256(tmp_path)}) == 3
