from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.gpu_step import BENCHMARK, ModelShape, count_operations, peak_of, prepared, run
from bench.report import Comparison, Skipped

SHAPE = ModelShape(width=16, heads=2, clips=2, steps=10)


def test_operations_grow_with_the_batch_and_leave_no_gradient() -> None:
    learner, batch = prepared(SHAPE, torch.device("cpu"))
    counted = count_operations(learner, batch)
    twice, both = prepared(ModelShape(width=16, heads=2, clips=4, steps=10), torch.device("cpu"))
    assert count_operations(twice, both) == pytest.approx(2 * counted, rel=0.01)
    assert not learner.gradient.any()


def test_a_wider_model_has_about_its_square_more_operations() -> None:
    # Widths and steps large enough that the products of W × W dominate the rest, which grow less.
    narrow, wide = (
        count_operations(*prepared(ModelShape(width=width, heads=2, clips=1, steps=5), torch.device("cpu")))
        for width in (256, 512)
    )
    assert 3 < wide / narrow < 4


def test_the_peak_is_found_by_the_device_s_name() -> None:
    found = peak_of("NVIDIA H100 80GB HBM3")
    slower = peak_of("NVIDIA H100 PCIe")
    assert found is not None
    assert slower is not None
    assert found.bf16 > slower.bf16
    assert peak_of("NVIDIA A100-SXM4-80GB") == peak_of("NVIDIA A100-PCIE-40GB")
    assert peak_of("a device of the future") is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is meant")
def test_without_cuda_it_says_so(tmp_path: Path) -> None:
    (outcome,) = run(BENCHMARK.quick, tmp_path)
    assert isinstance(outcome, Skipped)
    assert outcome.reason == "this machine has no CUDA device"


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path) -> None:
    (row,) = run(BENCHMARK.quick, tmp_path)
    assert isinstance(row, Comparison)
    assert "steps/s" in row.ours.detail
    assert "MiB" in row.ours.detail
    assert row.ratio.low > 0
