"""The weights of a training, its gradients, moments and average: a copy on each worker, or a part of them on each.

In parts they are FSDP2's (`torch.distributed.fsdp.fully_shard`; Zhao et al. 2023, arXiv 2304.11277): tensors cut along
their first dimension, which are gathered for a forward pass and once more for the backward pass. Between steps a worker
has a `world`-th of each; while a step runs it has all weights, and at the end of its backward pass all gradients.

The model is one unit of that. With smaller units every worker would have to run the same parts of the model in the same
order, and which ones run depends on the modalities that a worker's clips have (`model/sparse.py`).

The numbers are those of whole copies: the same sums, of which each worker keeps its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from components.model.base import EmotionModel, ModelOutput

if TYPE_CHECKING:  # a second of imports, which whole copies do not need
    from torch.distributed.device_mesh import DeviceMesh

Inputs = Mapping[str, Tensor]
# A batch's features and masks, or None twice on a worker without clips → the model's output, None without clips; and a
# zero, in parts with a gradient of zero for the weights.
Forward = Callable[[Inputs | None, Inputs | None], tuple[ModelOutput | None, Tensor]]


class Placement(Protocol):
    """Where the tensors of a training are.

    Attributes:
        together: whether all workers must do what uses them in the same order: `forward`, going back through it, and
            `whole`.
        forward: the model as a function.
    """

    together: bool
    forward: Forward

    def local(self, tensor: Tensor) -> Tensor:
        """What this worker has of a tensor, as a view. Without gradients only."""

    def whole(self, tensor: Tensor) -> Tensor:
        """All of it."""

    def placed(self, tensor: Tensor, like: Tensor) -> Tensor:
        """A whole tensor, which every worker has, as `like` is placed."""

    def complete(self, parameters: Iterable[Tensor]) -> None:
        """Gives those that got no gradient one of zeros."""


class Copies:
    """Each worker has all of each tensor."""

    together = False

    def __init__(self, outputs: Callable[[Inputs, Inputs], ModelOutput], device: torch.device) -> None:
        zero = torch.zeros((), device=device)

        def forward(features: Inputs | None, masks: Inputs | None) -> tuple[ModelOutput | None, Tensor]:
            return (None if features is None or masks is None else outputs(features, masks)), zero

        self.forward: Forward = forward

    def local(self, tensor: Tensor) -> Tensor:
        """The tensor."""
        return tensor

    def whole(self, tensor: Tensor) -> Tensor:
        """The tensor."""
        return tensor

    def placed(self, tensor: Tensor, like: Tensor) -> Tensor:
        """The tensor, on the device of `like`."""
        return tensor.to(like.device)

    def complete(self, parameters: Iterable[Tensor]) -> None:
        """Nothing: all have one from the start."""


class Parts:
    """Each worker has a part of each parameter of a model, in place of the whole one that all had. What is not of the
    model, as what a loss learns, stays whole."""

    together = True

    def __init__(self, model: EmotionModel, mesh: DeviceMesh) -> None:
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor import DTensor, distribute_tensor

        unit = fully_shard(_Gathered(model), mesh=mesh, reshard_after_forward=True)
        # Gradients are added up, not averaged (see `Learner`).
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)
        # Which weights get a gradient depends on a worker's clips; all workers add up those of all weights.
        unit.set_reduce_scatter_unused_params(True)
        self.forward = cast(Forward, unit)
        self._kind, self._distribute = DTensor, distribute_tensor

    def local(self, tensor: Tensor) -> Tensor:
        """This worker's part."""
        return tensor.to_local() if isinstance(tensor, self._kind) else tensor

    def whole(self, tensor: Tensor) -> Tensor:
        """Gathered from all workers."""
        return tensor.full_tensor() if isinstance(tensor, self._kind) else tensor

    def placed(self, tensor: Tensor, like: Tensor) -> Tensor:
        """This worker's part of it, cut here: nothing is sent."""
        tensor = tensor.to(like.device)
        if not isinstance(like, self._kind):
            return tensor
        return self._distribute(tensor, like.device_mesh, like.placements, src_data_rank=None)

    def complete(self, parameters: Iterable[Tensor]) -> None:
        """Gives those that are not learned zeros, as all have them in whole copies."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


class _Gathered(nn.Module):
    """The model as a unit that runs on a worker without clips too, so that all gather and add up together."""

    def __init__(self, model: EmotionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Inputs | None, masks: Inputs | None) -> tuple[ModelOutput | None, Tensor]:
        """As `Forward` says."""
        output = None if features is None or masks is None else self.model(features, masks)
        learned = next(parameter for parameter in self.model.parameters() if parameter.requires_grad)
        return output, learned.flatten()[:0].sum()
