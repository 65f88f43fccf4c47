"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), with torch's own fused step.

`torch.optim.AdamW` imports torch's compiler, for seconds in each process that trains; the function below it does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """What `torch.optim.AdamW(groups, lr=learning_rate, fused=True)` is, to the bit.

    Args:
        groups: each with `params`, parameters with a gradient, and their `weight_decay`.
        learning_rate: of every group; `lr` of a group may be set between steps.
    """

    BETAS = (0.9, 0.999)
    EPS = 1e-8

    def __init__(self, groups: Sequence[dict[str, Any]], *, learning_rate: float) -> None:
        self.param_groups = [{**group, "lr": learning_rate} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    @torch.no_grad()
    def step(self) -> None:
        """Moves every parameter by its gradient."""
        for group in self.param_groups:
            parameters = group["params"]
            moments = [self._moments(parameter) for parameter in parameters]
            adamw(
                parameters,
                [parameter.grad for parameter in parameters if parameter.grad is not None],
                [moment["exp_avg"] for moment in moments],
                [moment["exp_avg_sq"] for moment in moments],
                [],
                [moment["step"] for moment in moments],
                fused=True,
                amsgrad=False,
                beta1=self.BETAS[0],
                beta2=self.BETAS[1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=self.EPS,
                maximize=False,
            )

    def _moments(self, parameter: Tensor) -> dict[str, Tensor]:
        if not self.state[parameter]:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self.state[parameter]
