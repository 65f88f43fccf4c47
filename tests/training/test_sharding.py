"""Weights, gradients, moments and average in parts on two gloo workers (`ranks.py`), beside whole copies on both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.ranks import WORLD

PROJECT = Path(__file__).resolve().parents[2]
SAME = {
    "parts": "copies",
    "parts, two parts a batch": "copies, two parts a batch",
    "parts, from copies": "copies",
    "copies, from parts": "copies",
    "parts, lora": "copies, lora",
    "parts, weights": "copies, weights",
}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each worker found."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.training.ranks", str(folder)]
    processes = [
        subprocess.Popen([*command, str(rank)], cwd=PROJECT, stderr=subprocess.PIPE, text=True) for rank in range(WORLD)
    ]
    try:
        said = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "\n".join(said)[-5000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


@pytest.mark.parametrize("name", SAME)
def test_parts_learn_what_copies_do(workers: list[dict[str, Any]], name: str) -> None:
    """Up to the rounding of the gradient's norm, with dropout, joint losses, a batch of which a worker has no clip, and
    checkpoints from one form to the other. After 16 steps weights differed by 3e-6, and losses by 7e-7."""
    for worker in workers:
        alike(worker[name], worker[SAME[name]])
    for key, value in workers[0][name]["weights"].items():
        assert torch.equal(workers[1][name]["weights"][key], value), key


@pytest.mark.parametrize("parts", ["", ", two parts a batch"])
def test_a_gradient_in_buckets_is_added_up_while_the_rest_is_computed(
    workers: list[dict[str, Any]], parts: str
) -> None:
    """With dropout of modalities, so that the workers' clips use different weights. Two summands have one sum."""
    for worker in workers:
        own, whole = worker[f"copies, in buckets{parts}"], worker[f"copies{parts}"]
        assert own["buckets"] > 10
        assert len(own["early"]) == 16
        if not parts:  # after the first part no gradient is still to come as a whole
            assert sum(own["early"]) > 8
        assert own["history"] == whole["history"]
        for key, value in whole["weights"].items():
            assert torch.equal(own["weights"][key], value), key


def test_a_single_worker_that_is_left_has_all_parts(workers: list[dict[str, Any]]) -> None:
    alike(workers[0]["parts, alone"], workers[0]["copies, alone"])


def alike(own: dict[str, Any], other: dict[str, Any]) -> None:
    assert len(own["history"]) == len(other["history"]) > 1
    for record, expected in zip(own["history"], other["history"], strict=True):
        assert record == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for kind in ("weights", "average"):
        assert own[kind].keys() == other[kind].keys()
        for key, value in other[kind].items():
            assert torch.allclose(own[kind][key], value, atol=1e-5), (kind, key)


def test_each_worker_has_half_of_everything_between_steps(workers: list[dict[str, Any]]) -> None:
    """Measured as the memory that is behind the tensors, of which nothing else is left. A parameter of an odd length is
    half a row more."""
    for worker in workers:
        copies, parts = worker["copies"]["bytes"], worker["parts"]["bytes"]
        model = worker["parts"]["model_bytes"]
        assert copies["weights"] == copies["average"] == copies["moments"] / 2 == model
        assert copies["gradients"] >= model
        for kind, whole in copies.items():
            assert parts[kind] == pytest.approx(whole / 2, rel=0.05), kind
        assert worker["parts"]["live_bytes"] == pytest.approx(worker["copies"]["live_bytes"] / 2, rel=0.05)
