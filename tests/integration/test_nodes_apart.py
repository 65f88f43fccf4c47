"""Stages on nodes that share nothing but an object store, one of which is cut off; see `apart.py`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import apart
from tests.namespaces import seen_in_own_network

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `apart.py` saw."""
    return seen_in_own_network("tests.integration.apart", tmp_path_factory.mktemp("apart") / "seen.json")


def test_the_weights_are_those_of_a_training_of_which_no_node_was_lost(seen: dict[str, Any]) -> None:
    whole, cut = seen["whole"], seen["cut"]
    assert cut["cut"]["samples"] % apart.TOY.clips  # within an epoch
    assert cut["cut"]["samples"] >= apart.CUT_AFTER * apart.TOY.clips
    lost = cut["cut"]["node"]
    assert seen["lost"] == [lost]
    assert seen["ended"] in ([], [lost])  # the others are those that they were
    assert len(cut["cut"]["then"]) == 1  # the first worker was on it, and went on elsewhere
    assert cut["model_sha256"] == whole["model_sha256"]
    assert cut["history"] == whole["history"]
    assert len(whole["history"]["epochs"]) == apart.EPOCHS


def test_clips_are_aligned_and_encoded_where_nobody_else_has_their_media(seen: dict[str, Any]) -> None:
    clips = seen["clips"]
    alone, apart_ = clips["counts"]
    assert alone == apart_ == [7, {"not-media": 1}, {"face": 1, "text": 6, "voice": 7}]
    assert clips["hashes"][0] == clips["hashes"][1]
    assert clips["left"] == []


def test_no_node_has_a_folder_of_the_project(seen: dict[str, Any]) -> None:
    """Each has Ray's and that of temporary files; the project's machine has no checkpoint, and the store nothing that
    the next training would not read."""
    assert all({"cut", "whole"}.isdisjoint(folders) for folders in seen["folders"].values())
    for training in (seen["whole"], seen["cut"]):
        assert all(name.startswith("features/toy/") for name in training["left"])
        assert training["left"]
        assert "packed" not in training["state"]
