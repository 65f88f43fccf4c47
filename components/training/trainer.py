"""Training over several workers with Ray Train: the only file of this component that imports Ray.

Workers load their own clips, hold the same learner, and add their gradients up over gloo (CPU) or NCCL (GPU). A lost
worker is replaced and all continue from the last checkpoint; a run that was interrupted as a whole continues likewise
when the same job is fitted again, because its folder is named by the inputs of the training.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.contracts.config import RayResources, Runtime
from components.contracts.errors import MerError, ModelError
from components.runtime.cluster import connect
from components.runtime.threads import THREADS
from components.training.checkpoint import STATE, load_checkpoint, save_checkpoint
from components.training.job import CHECKPOINT, Epoch, Job, Trained, fit_here
from components.training.learner import Share
from components.training.loop import new_learner, run_epochs

RAY_FOLDER = "ray"
PROGRESS = "progress.jsonl"
PROGRESS_POLL_S = 0.2
# Workers on a CPU request less than a core each, so that two of them fit beside the actors of other stages; the
# operating system shares the cores.
CPUS_PER_WORKER = 0.5
# How often Ray Train's controller polls its workers, which bounds the delay of reports and of the end.
CONTROLLER_POLL = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")


def fit(
    job: Job, folder: Path, *, runtime: Runtime, resources: RayResources, on_epoch: Callable[[Epoch], None]
) -> Trained:
    """Trains with `runtime.workers` workers; 0 means in this process and without Ray.

    Args:
        job: the training.
        folder: state of this training, below one that all nodes share; equal for equal jobs, whatever `runtime`.
        runtime: how it runs.
        resources: of a local Ray, if none is running.
        on_epoch: called in this process as epochs end, in order; after an interruption it continues with the next one.

    Raises:
        ModelError: a worker failed more often than `runtime.max_failures`; an error of the project's own tree that a
            worker raised is raised as it is.
        KeyboardInterrupt: the run was stopped; its last checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if runtime.workers == 0:
        return fit_here(job, folder, on_epoch, runtime)
    import ray.train
    from ray.train.torch import TorchTrainer

    connect(resources)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job, "folder": str(folder.resolve()), "runtime": runtime},
        scaling_config=ray.train.ScalingConfig(
            num_workers=_number_of_workers(runtime),
            use_gpu=runtime.use_gpu,
            resources_per_worker=None if runtime.use_gpu else {"CPU": CPUS_PER_WORKER},
        ),
        run_config=ray.train.RunConfig(
            name=RAY_FOLDER,
            storage_path=str(folder.resolve()),
            failure_config=ray.train.FailureConfig(max_failures=runtime.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )
    (folder / PROGRESS).unlink(missing_ok=True)
    with _epochs_reported(folder / PROGRESS, on_epoch), _environment(*CONTROLLER_POLL), _interrupts_kept():
        try:
            result = trainer.fit()
        except SystemExit as stop:  # Ray Train's own handler of SIGINT ends so
            raise KeyboardInterrupt from stop
        except ray.train.v2.api.exceptions.TrainingFailedError as error:
            raise _cause(error) from error
    weights = {name: torch.from_numpy(values.copy()) for name, values in result.return_value["weights"].items()}
    return Trained(weights=weights, history=result.return_value["history"])


def _number_of_workers(runtime: Runtime) -> int | tuple[int, int]:
    """As Ray Train takes it: a number, or the range within which it adapts to the nodes that are there."""
    return runtime.workers if runtime.min_workers is None else (runtime.min_workers, runtime.workers)


def _worker(config: dict[str, Any]) -> dict[str, Any] | None:
    """The training of one worker; rank 0 returns the result."""
    import ray.train
    from ray.train.torch import get_device

    job: Job = config["job"]
    folder = Path(config["folder"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(THREADS)
    training, held_out = job.training(), job.items("calibration")
    learner = new_learner(job.task, training, device=get_device())
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as stored:
            load_checkpoint(Path(stored), learner, inputs_sha256=job.inputs_sha256)
    elif (folder / CHECKPOINT / STATE).is_file():  # of a process that trained without Ray
        load_checkpoint(folder / CHECKPOINT, learner, inputs_sha256=job.inputs_sha256)
    share = Share(rank=rank, world=world, sum_over_workers=_all_reduce)
    steps = job.task.order(len(training)).steps_per_epoch
    started = time.perf_counter()
    for record in run_epochs(learner, job.task, training, held_out, share=share):
        done = record["epoch"] + 1
        if rank == 0:
            ended = time.perf_counter()
            _append(folder / PROGRESS, Epoch(record=record, seconds=ended - started, steps=steps))
            started = ended
        if done % config["runtime"].checkpoint_epochs == 0 and done < job.task.train.epochs:
            _report(job, folder, learner, rank)
    if rank != 0:
        return None
    weights = {name: value.numpy() for name, value in learner.averaged().items()}
    return {"weights": weights, "history": learner.history}


def _report(job: Job, folder: Path, learner: Any, rank: int) -> None:
    import ray.train

    if rank != 0:
        ray.train.report({"samples": learner.samples})
        return
    local = folder / CHECKPOINT
    save_checkpoint(local, learner, inputs_sha256=job.inputs_sha256)
    ray.train.report({"samples": learner.samples}, checkpoint=ray.train.Checkpoint.from_directory(str(local)))


def _all_reduce(tensor: Tensor) -> None:
    torch.distributed.all_reduce(tensor)


def _append(path: Path, epoch: Epoch) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(epoch)) + "\n")


@contextmanager
def _epochs_reported(path: Path, on_epoch: Callable[[Epoch], None]) -> Iterator[None]:
    """Calls `on_epoch` for the lines that rank 0 appends to a file.

    Ray Train's callbacks run in its controller, a different process; the file reaches the calling process. An epoch
    that is repeated after a worker was lost is reported once.
    """
    done = threading.Event()
    last_reported = -1
    problems: list[Exception] = []

    def follow() -> None:
        try:
            read()
        except Exception as problem:  # raised in the calling thread when the training ends
            problems.append(problem)

    def read() -> None:
        nonlocal last_reported
        offset = 0
        while True:
            last_look = done.is_set()
            if path.is_file():
                with path.open(encoding="utf-8") as stream:
                    stream.seek(offset)
                    for line in iter(stream.readline, ""):
                        if not line.endswith("\n"):
                            break
                        offset += len(line.encode())
                        epoch = Epoch(**json.loads(line))
                        if epoch.record["epoch"] > last_reported:
                            last_reported = epoch.record["epoch"]
                            on_epoch(epoch)
            if last_look:
                return
            done.wait(PROGRESS_POLL_S)

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if problems:
        raise problems[0]


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets a variable temporarily, unless it is set already."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Restores the process's handler of SIGINT: Ray Train leaves its own behind, which ends the process with 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cause(error: Any) -> MerError:
    """The error of the project's tree behind a failed training, or a ModelError that names the worker and its cause."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, MerError):
                return cause
            cause = cause.__cause__
    for rank, failure in sorted(failures.items()):
        return ModelError("a training worker failed", where=f"worker {rank}", seen=str(failure).strip()[-500:])
    return ModelError("training failed", where="Ray Train", seen=str(error).strip()[-500:])
