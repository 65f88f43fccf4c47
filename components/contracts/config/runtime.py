"""The section `runtime`."""

from __future__ import annotations

from pydantic import Field, model_validator

from components.contracts.config.base import Section


class Runtime(Section):
    """How a training runs: no stage depends on this section, so a laptop and a cluster share `dvc.lock`.

    The order of clips and the gradient are the same for any number of workers, up to rounding. What a model draws while
    it learns (dropout, mixed statistics) differs with the number of workers, as it does with `seed`; with equal
    numbers, equal trainings give equal bits.
    """

    workers: int = Field(2, ge=0)
    """Processes of Ray Train, which talk by gloo on the CPU and NCCL on GPUs; 0 trains in the calling process, on the
    CPU and without Ray."""

    min_workers: int | None = Field(None, ge=1)
    """The fewest workers with which training goes on when a node is lost; it gets back to `workers` when there is
    room again, each time from the last checkpoint. Without a value the number is fixed, and training waits."""

    parts: int = Field(1, ge=1)
    """Parts in which each worker computes its clips of a batch, one after the other, where memory does not hold the
    activations of all (gradient accumulation). The batch and its gradient stay the same up to rounding, and the draws
    are those of `workers` times `parts` workers; more than one part costs a second forward pass."""

    shard: bool = False
    """Whether the workers share out weights, gradients, the optimiser's moments and the average (FSDP2), so that each
    holds a part of them between steps and gathers the weights for a step. For models of which a worker's memory does
    not hold five copies; for smaller ones it is slower. The result is the same up to rounding, and checkpoints fit
    both ways."""

    use_gpu: bool = False
    """Whether each worker takes a GPU."""

    checkpoint_minutes: float = Field(1.0, gt=0)
    """The most minutes of training that are lost when it is killed: the time from one checkpoint to the next."""

    checkpoint_steps: int | None = Field(None, gt=0)
    """Optimiser steps from one checkpoint to the next, where minutes are too coarse."""

    checkpoints_best: int = Field(1, ge=0)
    """Checkpoints kept for their low training loss, beside the last two, until the training is done."""

    checkpoints: str | None = None
    """The address `s3://bucket/prefix` for copies of the checkpoints until the training is done: where its machine and
    disk are lost, it goes on from there on a different one. Server and keys come from the environment."""

    store: str | None = None
    """The address `s3://bucket/prefix` for what nodes share where they share no folder. Actors of `alignment` and
    `features` read media and aligned clips there and write what they make; for a training it has the catalog, the
    features, the transform, the progress, and copies of the checkpoints unless `runtime.checkpoints` names a place for
    those. One prefix per project. Server and keys come from the environment of every node; what a node has fetched
    is below its folder of temporary files (`TMPDIR`)."""

    max_failures: int = Field(2, ge=0)
    """How often a lost worker is replaced before the stage fails."""

    clips_mb: float = Field(1000, ge=0)
    """Megabytes of features up to which a process holds the clips of a split in memory. Those of a larger split are
    written into one file below `.mer/packed` first and read clip by clip, with the same result to the bit; what
    `evaluate` keeps of them is in nameless files in the folder of temporary files (`TMPDIR`) then."""

    cache_mb: float | None = Field(None, ge=0)
    """With `runtime.store`: megabytes of features that a node keeps on its disk. The clips of a larger corpus stay in
    the store as one file; workers read each from there and keep those that were used last, with the same result to the
    bit. Without a value every node fetches all of them once."""

    features: str | None = None
    """The address `s3://bucket/prefix` of a copy of `data/features`, for nodes that do not share that folder. Each
    reads it once, shard by shard, into the file below `.mer/packed`; server and keys come from the environment."""

    batches_ahead: int = Field(2, ge=0)
    """Batches that a thread of each worker reads and pads while a step runs; 0 makes each when its step begins."""

    profile_steps: int = Field(0, ge=0)
    """Steps of which the first worker writes a trace with torch's profiler, from the eleventh on, to
    `.mer/profile/train.json` and to the MLflow run; it opens in https://ui.perfetto.dev. 0 writes none, and
    `mer run --profile` one of that run."""

    @property
    def copies(self) -> str | None:
        """The address for copies of the checkpoints."""
        if self.checkpoints is not None or self.store is None:
            return self.checkpoints
        return f"{self.store.rstrip('/')}/checkpoints"

    @model_validator(mode="after")
    def _within_workers(self) -> Runtime:
        if self.shard and self.workers < 2:
            raise ValueError(
                f"runtime.shard shares a model out among workers, and runtime.workers is {self.workers}: set it to 2 "
                "or more, or runtime.shard to false"
            )
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError("runtime.min_workers must be at most runtime.workers")
        return self
