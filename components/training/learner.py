"""What training changes: weights, their moving average, the optimiser's moments, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.model.build import build_model
from components.model.losses import Objective
from components.model.spec import ModelSpec
from components.training.items import Batch
from components.training.order import derived_seed

# The learning rate ends at this share of its peak.
LAST_RATE = 0.01


def _alone(tensor: Tensor) -> None:
    """The sum over one worker."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One worker's place among `world` workers; `sum_over_workers` adds a tensor up over all of them, in place."""

    rank: int = 0
    world: int = 1
    sum_over_workers: Callable[[Tensor], None] = _alone


class Learner:
    """One worker's copy of the training state; equal on every worker after each step.

    The gradient of the *global* batch is exact whatever the number of workers: each divides its sums by the global
    normalisers, and the gradients are then added, not averaged (see `model/losses.py`). Gradients live in one flat
    buffer, so a step needs two sums over workers: the normalisers, and everything else.

    Learning rate and random seeds of a step are pure functions of its number. Between steps the whole state is
    therefore weights, average, moments, `samples` and the history: what `checkpoint.py` writes.
    """

    def __init__(
        self, spec: ModelSpec, config: Train, objective: Objective, *, seed: int, steps: int, device: torch.device
    ) -> None:
        self.spec, self.config, self.objective = spec, config, objective
        self.seed, self.steps, self.device = seed, steps, device
        torch.manual_seed(derived_seed(seed, "weights"))
        self.model = build_model(spec).to(device)
        self.parameters = dict(self.model.named_parameters())
        self.ema = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        # The tail carries the loss sums to the other workers.
        self.buffer = torch.zeros(sum(sizes) + len(objective.scale), device=device)
        self.gradient = self.buffer[: sum(sizes)]
        for parameter, part in zip(self.parameters.values(), torch.split(self.gradient, sizes), strict=True):
            parameter.grad = part.view_as(parameter)
        # Biases, norms and slopes are not decayed: pulling a scale to zero is no regularisation.
        matrices = [parameter for parameter in self.parameters.values() if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters.values() if parameter.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.learning_rate,
            fused=True,
        )
        self.samples = 0
        self.history: list[dict[str, Any]] = []
        self.epoch_sums: dict[str, float] = {}

    def step(self, batch: Batch | None, *, step: int, samples: int, share: Share) -> dict[str, float]:
        """One optimiser step on a global batch.

        Args:
            batch: this worker's clips of it, None if it got none.
            step: number of the global batch.
            samples: samples consumed globally once it is done.
            share: this worker's place.

        Returns:
            Part → loss of the global batch, and `loss`, their weighted sum.

        Raises:
            ModelError: the gradient is not finite.
        """
        scale = self.objective.scale
        totals, weights = self._sums(batch, step, share.rank)
        share.sum_over_workers(weights)
        scaled = totals / weights.clamp(min=torch.finfo(weights.dtype).tiny)
        self.buffer.zero_()
        if batch is not None:
            (scaled * scaled.new_tensor(list(scale.values()))).sum().backward()  # type: ignore[no-untyped-call]
        self.buffer[self.gradient.numel() :] = scaled.detach()
        share.sum_over_workers(self.buffer)
        self._update(step)
        self.samples = samples
        losses = dict(zip(scale, self.buffer[self.gradient.numel() :].tolist(), strict=True))
        return {**losses, "loss": sum(scale[name] * value for name, value in losses.items())}

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights on the CPU, by name: what is kept of a training."""
        return {name: value.detach().cpu().clone() for name, value in self.ema.items()}

    def _sums(self, batch: Batch | None, step: int, rank: int) -> tuple[Tensor, Tensor]:
        parts = len(self.objective.scale)
        if batch is None:
            return torch.zeros(parts, device=self.device), torch.zeros(parts, device=self.device)
        self.model.train()
        torch.manual_seed(derived_seed(self.seed, "step", step, rank))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            output = self.model(batch.features, batch.masks)
        sums = self.objective.parts(output, batch.masks, batch.step_labels, batch.clip_labels)
        ordered = [sums[name] for name in self.objective.scale]
        return torch.stack([part.total for part in ordered]), torch.stack([part.weight for part in ordered])

    @torch.no_grad()
    def _update(self, step: int) -> None:
        norm = float(torch.linalg.vector_norm(self.gradient))
        if not math.isfinite(norm):
            raise ModelError(
                "the gradient is not finite",
                where=f"training step {step}",
                seen=norm,
                remedy="Lower train.learning_rate; if it is there from the first step, look for infinite features.",
            )
        if norm > self.config.gradient_clip:
            self.gradient.mul_(self.config.gradient_clip / norm)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps)
        self.optimiser.step()
        # The average starts short, so that it does not hang on to the random first weights.
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.ema.values()), list(self.parameters.values()), 1 - decay)


def learning_rate(config: Train, step: int, steps: int) -> float:
    """Linear warm-up over `warmup_fraction` of the steps, then half a cosine down to `LAST_RATE` of the peak."""
    warmup = max(1, round(config.warmup_fraction * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done)))
