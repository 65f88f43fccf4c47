"""The model compiled for training: fewer and larger kernels.

The numbers are those of the model up to rounding, but dropout draws differ. Compiling takes minutes on a CPU, once per
process: it is for long trainings on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from components.contracts.errors import ConfigError


def compiled(model: nn.Module) -> Callable[..., Any]:
    """A function that computes `model(...)` with compiled code; it compiles at its first call.

    Sizes are symbolic from the start. By default the compiler infers from the first batches which sizes vary, so a
    resumed training would run different kernels from one that was not interrupted.

    Raises:
        ConfigError: (from the first call) the model cannot be compiled on this machine.
    """
    from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException
    from torch._inductor.exc import InductorError

    forward: Callable[..., Any] | None = None

    def call(*inputs: Any) -> Any:
        nonlocal forward
        try:
            if forward is None:
                forward = torch.compile(model, dynamic=True)
            return forward(*inputs)
        except (BackendCompilerFailed, InductorError, TorchDynamoException) as error:
            raise ConfigError(
                "the model cannot be compiled here",
                where="train.compile",
                seen=str(error).strip().splitlines()[0][:300],
                allowed="true where torch finds a C++ compiler, on a GPU also Triton",
                remedy="Set train.compile: false, or install a C++ compiler.",
            ) from error

    return call
