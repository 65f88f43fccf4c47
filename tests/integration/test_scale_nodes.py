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


def test_rows_go_to_disk_and_not_through_the_object_store(nodes: dict[str, Any]) -> None:
    """The reader stood still until nothing moved: all rows, twice the object store, were in files of the actors."""
    seen = nodes["held_back"]
    assert seen["row_bytes"] > 2 * (80 << 20)
    assert seen["clips"] == 96
    assert seen["on_disk_bytes"] > seen["row_bytes"]
    assert seen["peak_bytes"] < 0.02 * (80 << 20)
    assert seen["spilled_bytes"] == 0


def test_encoders_on_a_gpu_reserve_it_and_readers_do_not(nodes: dict[str, Any]) -> None:
    seen = nodes["pools"]
    assert seen["planned"] == [[["voice"], "cpu", 2, 1.0, 0.0], [["face"], "cuda", 1, 0.0, 1.0]]
    assert seen["on_gpu_node"] == [True]
    assert [modality for _, modality in seen["results"]] == ["voice"] * 6 + ["face", "voice"] * 2
    assert seen["same"]
    assert "there is no GPU" in seen["without_a_device"]
