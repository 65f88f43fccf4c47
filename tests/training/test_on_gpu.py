"""Training on a GPU gives what it gives on a CPU, up to the precision asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.contracts.config import RayResources, Runtime, Train
from components.training.job import Job, fit_here
from components.training.learner import Learner, Share
from components.training.loop import TrainingTask, new_learner
from components.training.samples.items import collate
from components.training.trainer import fit
from tests.model.toys import Toy, toy_spec

TOY = Toy(clips=9)
ITEMS = TOY.items()
TASK = TrainingTask(spec=toy_spec(modality_dropout=0.0), train=Train(batch_clips=9, gradient_clip=1e9), seed=1)

cpu = pytest.param("cpu", id="cpu")
gpu = pytest.param("cuda", id="gpu", marks=pytest.mark.gpu)


def stepped(device: str, **train: object) -> tuple[Learner, float]:
    """A learner after its first step, with the loss of it."""
    task = replace(TASK, train=TASK.train.model_copy(update=train))
    learner = new_learner(task, ITEMS, device=torch.device(device))
    losses = learner.step(collate(ITEMS).to(learner.device), step=0, samples=len(ITEMS), share=Share())
    return learner, losses["loss"]


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.cpu(), other.cpu(), dim=0))


@pytest.mark.parametrize("device", [cpu, gpu])
def test_a_step_in_bf16_is_close_to_one_in_fp32(device: str) -> None:
    (exact, expected), (rounded, loss) = stepped(device, precision="fp32"), stepped(device, precision="bf16")
    assert rounded.gradient.dtype == torch.float32
    assert bool(rounded.gradient.isfinite().all())
    # bf16 has 8 bits: half a percent a product, averaged over many.
    assert loss == pytest.approx(expected, rel=0.02)
    assert cosine(exact.gradient, rounded.gradient) > 0.99
    assert not torch.equal(exact.gradient, rounded.gradient)


@pytest.mark.gpu
def test_a_compiled_step_in_bf16_is_close_to_an_eager_one_in_fp32() -> None:
    torch._dynamo.reset()
    (exact, expected), (fast, loss) = stepped("cuda", precision="fp32"), stepped("cuda", precision="bf16", compile=True)
    assert bool(fast.gradient.isfinite().all())
    assert loss == pytest.approx(expected, rel=0.02)
    assert cosine(exact.gradient, fast.gradient) > 0.99


@pytest.mark.gpu
def test_auto_is_bf16_on_a_gpu() -> None:
    (auto, _), (rounded, _) = stepped("cuda"), stepped("cuda", precision="bf16")
    assert auto.bf16
    assert torch.allclose(auto.gradient, rounded.gradient, atol=1e-5)


@pytest.mark.gpu
def test_a_step_on_a_gpu_is_the_one_on_a_cpu() -> None:
    (here, expected), (there, loss) = stepped("cpu", precision="fp32"), stepped("cuda", precision="fp32")
    assert loss == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(there.gradient.cpu(), here.gradient, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_over_nccl_learn_what_this_process_does(tmp_path: Path, workers: int) -> None:
    if torch.cuda.device_count() < workers:
        pytest.skip(f"needs {workers} CUDA devices")
    train = Train(precision="fp32", epochs=3, batch_clips=4)
    runtime = Runtime(workers=workers, use_gpu=True, checkpoint_steps=1)
    job = Job(task=replace(TASK, train=train), items=TOY.items, inputs_sha256="x")
    expected = fit_here(job, tmp_path / "here", lambda _: None, runtime)
    trained = fit(job, tmp_path / "there", runtime=runtime, resources=RayResources(), on_epoch=lambda _: None)
    assert [record["epoch"] for record in trained.history] == [0, 1, 2]
    for one, other in zip(expected.history, trained.history, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-2)
    for name, value in expected.weights.items():
        assert torch.allclose(trained.weights[name], value, atol=1e-2), name


@pytest.mark.gpu
@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_weights_in_parts_learn_over_nccl_what_whole_ones_do(tmp_path: Path) -> None:
    """On two GPUs; where there is one, a single worker goes the same way."""
    task, learned = replace(TASK, train=Train(precision="fp32", epochs=3, batch_clips=4)), {}
    workers = min(2, torch.cuda.device_count())
    for shard in (False, True):
        runtime = Runtime(workers=workers, use_gpu=True, checkpoint_steps=1, shard=shard)
        job = Job(task=task, items=TOY.items, inputs_sha256=f"shard {shard}")
        folder = tmp_path / str(shard)
        learned[shard] = fit(job, folder, runtime=runtime, resources=RayResources(), on_epoch=lambda _: None)
    whole, parts = learned[False], learned[True]
    for one, other in zip(whole.history, parts.history, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
    for name, value in whole.weights.items():
        assert torch.allclose(parts.weights[name], value, atol=1e-3), name
