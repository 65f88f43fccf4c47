"""Training over several workers with Ray Train: the only file of this component that imports Ray.

Workers load their own clips, hold the same learner, or with `runtime.shard` parts of one, and add their gradients up
over gloo (CPU) or NCCL (GPU). A lost worker is replaced and all continue from the last checkpoint; a run that was
interrupted as a whole continues likewise when the same job is fitted again, because its folder is named by the inputs
of the training. Nodes share that folder, or an object store (`nodes/`).
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from components.contracts.config import RayResources, Runtime
from components.contracts.errors import MerError, ModelError, error_chain
from components.runtime.cluster import connect
from components.runtime.threads import THREADS
from components.training.checkpoints.keeper import Checkpoints
from components.training.checkpoints.state import Snapshot, restore
from components.training.epochs import Reported, epochs_reported
from components.training.job import CHECKPOINTS, Epoch, Job, Trained, fit_here, trained_epochs
from components.training.learner import DivergedError, Learner, Share
from components.training.loop import new_learner
from components.training.nodes.place import Place
from components.training.profiling import TRACE

RAY_FOLDER = "ray"
# Workers on a CPU request less than a core each, so that two of them fit beside the actors of other stages; the
# operating system shares the cores.
CPUS_PER_WORKER = 0.5
# With `runtime.min_workers`: how often Ray Train looks whether there is room for more workers. Getting back to them
# costs a start and what was done since the last checkpoint.
RESIZE_S = 60.0
# How often Ray Train's controller polls its workers, which bounds the delay of reports and of the end.
CONTROLLER_POLL = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
# In what Ray says of a process that could not begin its work.
MISSING, ADDRESS = re.compile(r"No module named '[\w.]+'"), re.compile(r"\bip=([^,)\s]+)")


def fit(
    job: Job, folder: Path, *, runtime: Runtime, resources: RayResources, on_epoch: Callable[[Epoch], None]
) -> Trained:
    """Trains with `runtime.workers` workers; 0 means in this process and without Ray.

    Args:
        job: the training.
        folder: state of this training, equal for equal jobs, whatever `runtime`; all nodes share it, or
            `runtime.store`.
        runtime: how it runs.
        resources: of a local Ray, if none is running.
        on_epoch: called in this process once per epoch, in order; after an interruption first for the epochs that the
            checkpoint holds.

    Raises:
        DataError: the store fails at the start.
        DivergedError: the gradient is not finite; it names the step, the clips and the last checkpoint, which is good.
        ModelError: a worker failed more often than `runtime.max_failures`; an error of the project's own tree that a
            worker raised is raised as it is.
        KeyboardInterrupt: the run was stopped; its last checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if runtime.workers == 0:
            return fit_here(job, folder, on_epoch, runtime)
        return _fit_on_ray(job, folder, runtime, resources, on_epoch)
    except DivergedError as error:
        last = _last_checkpoint(job, folder, runtime)
        raise DivergedError(error.what, **{**error.fields, "seen": f"{error.seen}; {last}"}) from error


def _fit_on_ray(
    job: Job, folder: Path, runtime: Runtime, resources: RayResources, on_epoch: Callable[[Epoch], None]
) -> Trained:
    import ray.train
    from ray.train.torch import TorchTrainer

    place = Place.of(job, folder, runtime)
    connect(resources)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job, "place": place, "runtime": runtime},
        scaling_config=ray.train.ScalingConfig(
            num_workers=_number_of_workers(runtime),
            use_gpu=runtime.use_gpu,
            resources_per_worker=None if runtime.use_gpu else {"CPU": CPUS_PER_WORKER},
            elastic_resize_monitor_interval_s=RESIZE_S,
        ),
        run_config=ray.train.RunConfig(
            name=RAY_FOLDER,
            **place.for_ray(),
            failure_config=ray.train.FailureConfig(max_failures=runtime.max_failures),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )
    progress = place.progress()
    progress.clear()
    with (
        epochs_reported(progress, on_epoch) as reported,
        _environment(*CONTROLLER_POLL),
        _interrupts_kept(),
    ):
        try:
            result = trainer.fit()
        except SystemExit as stop:  # Ray Train's own handler of SIGINT ends so
            raise KeyboardInterrupt from stop
        # The latter where the process that watches over the workers did not start, or was lost.
        except (ray.train.v2.api.exceptions.TrainingFailedError, ray.exceptions.RayActorError) as error:
            raise _cause(error) from error
    if diverged := result.return_value.get("diverged"):
        raise diverged
    place.take_trace()
    history = result.return_value["history"]
    _report_rest(history, reported, on_epoch)
    weights = {name: torch.from_numpy(values.copy()) for name, values in result.return_value["weights"].items()}
    return Trained(weights=weights, history=history)


def _last_checkpoint(job: Job, folder: Path, runtime: Runtime) -> str:
    """In words, with its place."""
    checkpoints = job.checkpoints(folder, runtime)
    places = [(str(folder / CHECKPOINTS), checkpoints.names())]
    if runtime.workers and runtime.store is not None and checkpoints.copies is not None:
        places = [(checkpoints.copies.address, checkpoints.copies.names())]
    last = next((f"{place}/{names[0]}" for place, names in places if names), None)
    return "no checkpoint yet" if last is None else f"the last checkpoint before it is {last}"


def _report_rest(history: Sequence[dict[str, Any]], reported: Reported, on_epoch: Callable[[Epoch], None]) -> None:
    """Reports the epochs that did not arrive while they were trained, as where the store was away."""
    for record in history[reported.last + 1 :]:
        on_epoch(Epoch(record=record, seconds=None, steps=0))


def _number_of_workers(runtime: Runtime) -> int | tuple[int, int]:
    """As Ray Train takes it: a number, or the range within which it adapts to the nodes that are there."""
    return runtime.workers if runtime.min_workers is None else (runtime.min_workers, runtime.workers)


def _worker(config: dict[str, Any]) -> dict[str, Any] | None:
    """The training of one worker; rank 0 returns the result."""
    import ray.train

    context = ray.train.get_context()
    place: Place = config["place"]
    place.check_code(config["job"])
    if context.get_world_rank() != 0:
        return _trained(config, context, place.folder)
    with place.here() as folder:
        return _trained(config, context, folder)


def _trained(config: dict[str, Any], context: Any, folder: Path) -> dict[str, Any] | None:
    """`_worker`, with a folder for checkpoints and trace, in which the first worker alone writes and reads."""
    from ray.train.torch import get_device

    job: Job = config["job"]
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(THREADS)
    training, held_out = job.training(), job.items("calibration")
    device, runtime = get_device(), config["runtime"]
    mesh = init_device_mesh(device.type, (world,)) if runtime.shard else None
    learner = new_learner(job.task, training, device=device, mesh=mesh)
    share = Share(rank=rank, world=world, sum_over_workers=_all_reduce, start_sum=_start_all_reduce)
    if rank != 0:
        runtime = runtime.model_copy(update={"profile_steps": 0})
    progress = config["place"].progress()
    with job.checkpoints(folder, runtime) as checkpoints:
        _load_alike(checkpoints, learner, rank)
        epochs = trained_epochs(
            job,
            learner,
            training,
            held_out,
            runtime=runtime,
            trace=folder / TRACE,
            share=share,
            # The state is the same on every worker after each step, or put together there; the first one writes it.
            checkpoints=checkpoints if rank == 0 else None,
        )
        try:
            for epoch in epochs:
                if rank == 0:
                    progress.append(epoch)
        except DivergedError as error:
            # On every worker at the same step, and again after a restart: returned, so that Ray does not try again.
            return {"diverged": error}
    weights = {name: value.numpy() for name, value in learner.averaged().items()}
    if rank != 0:
        return None
    return {"weights": weights, "history": learner.history}


def _load_alike(checkpoints: Checkpoints, learner: Learner, rank: int) -> None:
    """Gives every worker the state of the checkpoint that the first one chooses, and alone reads: another node may have
    none of that name, or one that was written before the first worker was lost."""
    state: list[Snapshot | None] = [checkpoints.load(learner) if rank == 0 else None]
    torch.distributed.broadcast_object_list(state, device=learner.device)
    if rank != 0 and state[0] is not None:
        restore(learner, state[0])


def _all_reduce(tensor: Tensor) -> None:
    torch.distributed.all_reduce(tensor)


def _start_all_reduce(tensor: Tensor) -> Callable[[], object]:
    work = torch.distributed.all_reduce(tensor, async_op=True)
    assert work is not None  # as this process is one of the workers
    return work.wait


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
    """The error of the project's tree behind a failed training, or a ModelError that names the worker, or the node that
    cannot import what it needs, and the cause."""
    failures: dict[int, BaseException] = dict(sorted(getattr(error, "worker_failures", {}).items()))
    for failure in failures.values():
        if own := next((link for link in error_chain(failure) if isinstance(link, MerError)), None):
            return own
    for rank, failure in failures.items():
        return ModelError("a training worker failed", where=f"worker {rank}", seen=str(failure).strip()[-500:])
    text = str(error)
    if missing := MISSING.search(text):
        address = ADDRESS.search(text)
        return ModelError(
            "a node of the cluster cannot import what a training needs",
            where="Ray Train" if address is None else f"node {address[1]}",
            seen=missing[0],
            remedy="Install the project with its environment on every node, all of one commit, such as one image",
        )
    return ModelError("training failed", where="Ray Train", seen=text.strip()[-500:])
