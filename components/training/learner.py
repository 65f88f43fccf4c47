"""The state of a training: weights, their moving average, the optimiser's moments, and the samples consumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from components.catalog.cases import Case
from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.model.base import ClipFeatures, ModelOutput
from components.model.build import build_model
from components.model.objective import Objective
from components.model.spec import ModelSpec
from components.runtime.on_demand import OnDemand, at_once_of
from components.training.adapted import load_bases
from components.training.buckets import Buckets, StartSum
from components.training.clock import Clock
from components.training.compiled import compiled
from components.training.earlier import Start
from components.training.samples.items import Batch
from components.training.samples.order import derived_seed
from components.training.sharding import Copies, Inputs, Parts, Placement

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

# A batch's features and masks → the model's output; None twice, on a worker without clips, → None.
Predict = Callable[[Inputs | None, Inputs | None], ModelOutput | None]
# Clips from which the weights that are not learned are computed, the mean and spread of statistics over clips. From so
# many a mean is off by less than a hundredth of the spread, and memory is bounded. A smaller corpus gives all of its.
SAMPLE = 16_384


class DivergedError(ModelError):
    """A step would have made the weights infinite; they are as they were before it."""


def _alone(tensor: Tensor) -> None:
    """The sum over a single worker."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One worker's place among `world` workers.

    Attributes:
        sum_over_workers: adds a tensor up over all of them, in place.
        start_sum: starts that for one of several tensors at a time; without it none begins before the one before ended.
    """

    rank: int = 0
    world: int = 1
    sum_over_workers: Callable[[Tensor], None] = _alone
    start_sum: StartSum | None = None

    def parts(self, count: int) -> list[Share]:
        """This worker as `count` of `world * count` smaller ones, each with its own share of the clips."""
        return [replace(self, rank=self.rank + self.world * part, world=self.world * count) for part in range(count)]


class _WithValue(torch.autograd.Function):
    """The sum over all workers and parts, with the gradient of one summand: those of all of them are added up later."""

    @staticmethod
    def forward(_: Any, mine: Tensor, total: Tensor) -> Tensor:
        return total.clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Learner:
    """One worker's copy of the training state; equal on every worker after each step.

    The gradient of the *global* batch is exact whatever the number of workers: each divides its sums by the global
    normalisers, and the gradients are then added, not averaged (see `model/losses.py`). Gradients live in one flat
    buffer, so a step needs two sums over workers: the normalisers with the sums of joint parts, and everything else,
    which is added up in buckets while the backward pass goes on where it is large (`buckets.py`). Parameters of the
    loss itself get their whole gradient on every worker, so only that of the first one counts.

    Learning rate and random seeds of a step are pure functions of its number. Between steps the whole state is
    therefore weights, average, moments, `samples` and the history, as written by `checkpoints/state.py`.

    With a `mesh` each of its workers has a part of the model's weights, gradients, moments and average, instead of all
    of them (`sharding.py`). The flat buffer then has the gradients of the loss's own parameters alone.
    """

    def __init__(
        self,
        spec: ModelSpec,
        config: Train,
        objective: Objective,
        *,
        seed: int,
        steps: int,
        device: torch.device,
        training: Sequence[Case],
        start: Start | None = None,
        mesh: DeviceMesh | None = None,
    ) -> None:
        self.spec, self.config, self.objective = spec, config, objective
        self.seed, self.steps, self.device = seed, steps, device
        torch.manual_seed(derived_seed(seed, "weights"))
        self.model = build_model(spec)
        load_bases(self.model)
        self.model.set_from(_sample(training))
        if start is not None:
            start.put_into(self.model)
        self.placement: Placement
        if mesh is None:
            self.model.to(device)
            self.placement = Copies(compiled(self.model) if config.compile else self.model, device)
        else:
            assert not config.compile  # `Params` allows one of the two
            self.placement = Parts(self.model, mesh)
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
        self.of_loss = {f"loss.{name}": value for name, value in objective.to(device).items()}
        fixed = self.model.fixed
        learned = {name: value for name, value in self.model.named_parameters() if name not in fixed}
        self.parameters = {**learned, **self.of_loss}
        self.ema = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        flat = self.of_loss if self.placement.together else self.parameters
        sizes = [parameter.numel() for parameter in flat.values()]
        # The tail carries the loss sums to the other workers.
        self.buffer = torch.zeros(sum(sizes) + len(objective.scale), device=device)
        self.gradient = self.buffer[: sum(sizes)]
        for parameter, part in zip(flat.values(), torch.split(self.gradient, sizes), strict=True):
            parameter.grad = part.view_as(parameter)
        of_model = [] if self.placement.together else list(learned.values())
        size = sum(parameter.numel() for parameter in of_model)
        self.buckets, self.rest = Buckets(self.buffer[:size], of_model), self.buffer[size:]
        self.optimiser = torch.optim.AdamW(self._groups(), lr=config.learning_rate, fused=True)
        self.clock = Clock(device)
        self.samples = 0
        self.history: list[dict[str, Any]] = []
        self.epoch_sums: dict[str, float] = {}

    def _groups(self) -> list[dict[str, Any]]:
        """The parameters for the optimiser: those of encoders' layers have a rate of their own (`train.adapt`), and
        biases, norms and slopes are decayed only with `decay_all`: pulling a scale to zero is not regularisation. What
        is in parts and what is whole cannot be updated in one call."""
        decay, together = self.config.weight_decay, self.placement.together
        of_upper = {f"upper.{name}.": settings.rate for name, settings in self.config.adapt.items()}
        groups: dict[tuple[float, bool, bool], list[Tensor]] = {(1.0, True, False): [], (1.0, False, False): []}
        for name, parameter in self.parameters.items():
            rate = next((rate for prefix, rate in of_upper.items() if name.startswith(prefix)), 1.0)
            key = (rate, parameter.ndim > 1, together and name in self.of_loss)
            groups.setdefault(key, []).append(parameter)
        return [
            {"params": own, "weight_decay": decay if matrices or self.config.decay_all else 0.0, "rate": rate}
            for (rate, matrices, _), own in groups.items()
        ]

    def step(self, *parts: Batch | None, step: int, samples: int, share: Share) -> dict[str, float]:
        """One optimiser step on a global batch.

        Args:
            parts: this worker's clips of it; None where there are none. Several are computed one after the other, as by
                as many workers (`Share.parts`): first their sums, then, in a second forward pass, the gradients.
            step: number of the global batch.
            samples: samples consumed globally after it.
            share: this worker's place among the workers.

        Returns:
            Part of the loss → loss of the global batch, and `loss`, their weighted sum.

        Raises:
            DivergedError: the gradient is not finite.
        """
        places, at_once = share.parts(len(parts)), len(parts) == 1
        with self.clock("forward"), torch.set_grad_enabled(at_once):
            made = [self._sums(batch, step, place) for batch, place in zip(parts, places, strict=True)]
            total = torch.stack([sums.detach() for _, sums in made]).sum(0)
        with self.clock("communication"):
            share.sum_over_workers(total)
        self.buffer.zero_()
        if self.placement.together:
            self.model.zero_grad()
        start = share.start_sum if share.world > 1 and len(self.buckets) > 1 else None
        overlapped = nullcontext() if start is None else self.buckets.summing(start)
        of_loss: list[Tensor] = []
        for batch, place in zip(parts, places, strict=True):
            if not at_once:
                with self.clock("forward"):
                    made = [self._sums(batch, step, place)]
            last = overlapped if place is places[-1] else nullcontext()
            with self.clock("backward"), last:
                self._add_gradient(*made[0], total, has_clips=batch is not None)
            if place is places[0]:
                of_loss = [self._gradient_of(parameter).clone() for parameter in self.of_loss.values()]
        tail = self.buffer[self.gradient.numel() :]
        joint = tail[len(self.objective.additive) :]
        # Every part of every worker has the joint losses, and the gradients of their parameters, of the whole batch.
        joint.div_(len(parts))
        for parameter, gradient in zip(self.of_loss.values(), of_loss, strict=True):
            self._gradient_of(parameter).copy_(gradient)
        if share.rank:
            for whole in (joint, *map(self._gradient_of, self.of_loss.values())):
                whole.zero_()
        with self.clock("communication"):
            share.sum_over_workers(self.buffer if start is None else self.rest)
            if start is not None:
                self.buckets.wait()
        with self.clock("optimiser"):
            self._update(step, share)
        self.samples = samples
        scale = self.objective.scale
        losses = dict(zip(scale, tail.tolist(), strict=True))
        return {**losses, "loss": sum(scale[name] * value for name, value in losses.items())}

    def _add_gradient(self, totals: Tensor, sums: Tensor, total: Tensor, *, has_clips: bool) -> None:
        """Adds the gradient of some clips to that of the batch, and their losses to the tail behind it.

        Args:
            totals, sums: of these clips, as `_sums` returns them.
            total: the sum of `sums` over all clips of the batch.
        """
        scale = self.objective.scale
        summed: Tensor = _WithValue.apply(sums, total)  # type: ignore[no-untyped-call]
        weights, joint = summed[: len(totals)].to(totals.dtype), summed[len(totals) :]
        scaled = totals / weights.clamp(min=torch.finfo(weights.dtype).tiny)
        losses = torch.stack([*scaled, *(value.to(scaled.dtype) for value in self.objective.joint_values(joint))])
        if has_clips or self.placement.together:
            (losses * losses.new_tensor(list(scale.values()))).sum().backward()  # type: ignore[no-untyped-call]
        self.buffer[self.gradient.numel() :] += losses.detach()

    def _gradient_of(self, parameter: Tensor) -> Tensor:
        """A view of the buffer."""
        assert parameter.grad is not None
        return parameter.grad

    @property
    def precision(self) -> str:
        """What forward passes are computed in: "bf16" or "fp32"."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def average(self) -> dict[str, Tensor]:
        """The averaged weights of the model, by name."""
        return {name: value for name, value in self.ema.items() if name not in self.of_loss}

    def averaged(self) -> dict[str, Tensor]:
        """`average`, and what did not learn, as whole copies on the CPU: the result of a training. All workers call it
        (`sharding.py`)."""
        fixed = self.model.fixed
        every = {**self.average, **{name: value for name, value in self.model.named_parameters() if name in fixed}}
        return {name: self.placement.whole(value).detach().cpu().clone() for name, value in every.items()}

    @contextmanager
    def averaged_model(self) -> Iterator[Predict]:
        """The model with the averaged weights. All workers call it equally often (`sharding.py`)."""
        if self.placement.together:
            self._swap()
            try:
                yield lambda features, masks: self.placement.forward(features, masks)[0]
            finally:
                self._swap()
            return
        average = self.average

        def predict(features: Inputs | None, masks: Inputs | None) -> ModelOutput | None:
            if features is None:
                return None
            output: ModelOutput = torch.func.functional_call(self.model, average, (features, masks))
            return output

        yield predict

    @torch.no_grad()
    def _swap(self) -> None:
        """Puts the weights of the model and their average in each other's place."""
        for name, average in self.average.items():
            weight, other = self.placement.local(self.parameters[name]), self.placement.local(average)
            kept = weight.clone()
            weight.copy_(other)
            other.copy_(kept)

    def _sums(self, batch: Batch | None, step: int, share: Share) -> tuple[Tensor, Tensor]:
        """This worker's sums of the additive parts; and in float64 their normalisers, then the sums of joint parts."""
        objective = self.objective
        if batch is None:
            count = len(objective.additive)
            sizes = count + sum(objective.joint_sizes)
            zero = self.placement.forward(None, None)[1]
            return zero.expand(count), torch.zeros(sizes, device=self.device, dtype=torch.float64)
        self.model.train()
        torch.manual_seed(derived_seed(self.seed, "step", step, share.rank))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            output, zero = self.placement.forward(batch.features, batch.masks)
        assert output is not None  # as there are clips
        inputs = objective.inputs(output, batch.masks, batch.step_labels, batch.clip_labels, batch.valence_arousal)
        sums = objective.parts(inputs)
        joint = objective.joint_sums(inputs, rank=share.rank, world=share.world)
        ordered = [sums[name] for name in objective.additive]
        weights = torch.stack([part.weight for part in ordered]).double()
        totals = torch.stack([part.total for part in ordered])
        return totals + zero if self.placement.together else totals, torch.cat([weights, joint])

    @torch.no_grad()
    def _update(self, step: int, share: Share) -> None:
        gradients = self._gradients()
        norm = self._norm(gradients, share)
        if not math.isfinite(norm):
            raise DivergedError(
                "the gradient is not finite",
                where=f"training step {step}",
                seen=norm,
                remedy="Lower train.learning_rate; if it is there from the first step, look for infinite features.",
            )
        if norm > self.config.gradient_clip:
            torch._foreach_mul_(gradients, self.config.gradient_clip / norm)
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * learning_rate(self.config, step, self.steps)
        self.optimiser.step()
        # The average starts short, so that it does not retain the random first weights.
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        average, weights = (
            [self.placement.local(tensor) for tensor in tensors.values()] for tensors in (self.ema, self.parameters)
        )
        torch._foreach_lerp_(average, weights, 1 - decay)

    def _gradients(self) -> list[Tensor]:
        """What this worker has of the gradient: the flat buffer, and its parts of the model's."""
        if not self.placement.together:
            return [self.gradient]
        of_model = [value for name, value in self.parameters.items() if name not in self.of_loss]
        self.placement.complete(of_model)
        return [self.gradient, *(self.placement.local(self._gradient_of(value)) for value in of_model)]

    def _norm(self, gradients: list[Tensor], share: Share) -> float:
        """Of the whole gradient."""
        if not self.placement.together:
            return float(torch.linalg.vector_norm(self.gradient))
        whole, *parts = torch._foreach_norm(gradients)
        squares = torch.stack(parts).double().square().sum()
        share.sum_over_workers(squares)
        return float((squares + whole.double().square()).sqrt())


def _sample(training: Sequence[Case]) -> Sequence[ClipFeatures]:
    """The features of up to `SAMPLE` training clips, evenly spread."""

    def features(place: int) -> ClipFeatures:
        case = training[place]
        return ClipFeatures(case.features, case.masks)

    places = np.arange(0, len(training), max(1, -(-len(training) // SAMPLE)))
    return OnDemand(features, places, at_once=at_once_of(training))


def learning_rate(config: Train, step: int, steps: int) -> float:
    """The rate of a step: linear warm-up over `warmup_fraction` of the steps, then half a cosine down to `final_rate`
    of the peak (Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5); by epoch, that of the epoch's first step."""
    if config.schedule == "epoch":
        step -= step % max(1, steps // config.epochs)
    warmup = max(1, round(config.warmup_fraction * steps)) if config.warmup_fraction else 0
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    half = 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * half)
