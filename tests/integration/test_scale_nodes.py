"""Stages on a cluster of two nodes, one of which has a GPU as far as Ray knows; see `nodes.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.contracts.atomic import read_json

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `nodes.py` saw; it has a cluster of its own."""
    folder = tmp_path_factory.mktemp("nodes")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.nodes", str(folder)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(read_json(folder / "seen.json"))


def test_two_nodes_write_what_one_writes(nodes: dict[str, Any]) -> None:
    one, two = nodes["one"], nodes["two"]
    assert one["nodes"] == {"AlignBatch": 1, "ShardEncoder": 1}
    assert two["nodes"] == {"AlignBatch": 2, "ShardEncoder": 2}
    assert one["counts"] == two["counts"] == [8, 2 + 8 + 6]
    assert one["hashes"] == two["hashes"]


def test_who_aligns_waits_for_who_reads(nodes: dict[str, Any]) -> None:
    """The reader stood still until nothing moved: what was ready then filled a part of the object store, the rest had
    not been begun. Without a bound all of it, twice the store, would have been put there or written to disk."""
    seen = nodes["held_back"]
    assert seen["row_bytes"] > 2 * (80 << 20)
    assert seen["clips"] == 96
    assert 0 < seen["peak_bytes"] < 0.7 * (80 << 20)
    assert seen["spilled_bytes"] == 0


def test_encoders_on_a_gpu_reserve_it_and_readers_do_not(nodes: dict[str, Any]) -> None:
    seen = nodes["pools"]
    assert seen["planned"] == [[["voice"], "cpu", 2, 1.0, 0.0], [["face"], "cuda", 1, 0.0, 1.0]]
    assert seen["on_gpu_node"] == [True]
    assert [modality for _, modality in seen["results"]] == ["voice"] * 6 + ["face", "voice"] * 2
    assert seen["same"]
    assert "there is no GPU" in seen["without_a_device"]
