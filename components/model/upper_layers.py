"""The last layers of an encoder as a part of the model, so that they learn with it (`train.adapt`).

The layers before them are a frozen encoder like any other: its frames are features in the store, which online and
offline share. What learns here is either two thin matrices beside each matrix (LoRA: Hu et al. 2022, arXiv 2106.09685),
or all weights of the last layers. Either way the weights are a part of the model's, and so of the bundle.

Before they learn, what these layers give is what the whole encoder gives, but for silence, which they do not read: the
mean of the frames that go in and of each layer's output, pooled into steps. Frame k is centred on k times the length of
a frame, so that the first one of a step counts half in it and half in the step before. The result is standardised as
such features are by the transform.

Legend: B clips, T steps, F frames in a step, N = T * F frames, D width of a frame. Masks are True = valid. A frame of
zeros, or of an invalid step, is not there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.model.spec import LORA, UpperSpec
from components.model.statistics import StepFeatures
from components.model.temporal import zero_invalid
from components.runtime.transformer_layer import TransformerLayer

# A frame attends to those of the same stretch of so many steps, counted from the clip's first: 30 s at 10 steps per
# second, the longest sound that Whisper has positions for.
STRETCH_STEPS = 300
MATRICES = ("qkv", "out", "up", "down")
# LoRA's product counts alpha / rank times.
ALPHA_PER_RANK = 2


class UpperLayers(nn.Module):
    """(B, T, F * D) frames of the layers before → (B, T, D) features, standardised, zeros at invalid steps."""

    def __init__(self, spec: UpperSpec, *, frames: int) -> None:
        super().__init__()
        self.spec, self.frames = spec, frames
        self.layers = nn.ModuleList(TransformerLayer(spec.width, spec.heads) for _ in range(spec.layers))
        self.standardised = StepFeatures(spec.width)
        self.layers.requires_grad_(False)
        first = spec.layers - spec.learned
        if spec.method == LORA:
            _add_lora(self.layers, range(first, spec.layers), spec.rank)
        else:
            self.layers[first:].requires_grad_(True)

    def load_base(self, layers: nn.ModuleList) -> None:
        """Sets the weights that the layers have before they learn."""
        weights = layers.state_dict()
        own = self.layers.state_dict()
        for name in own:
            if ".lora_" not in name:
                own[name] = weights[name.replace(".base_layer.", ".")]
        self.layers.load_state_dict(own)

    def forward(self, x_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, F * D), (B, T) → (B, T, D)."""
        return self.standardised(self.pooled(x_BTE, mask_BT), mask_BT)

    def pooled(self, x_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """`forward` before the features are standardised."""
        clips, steps, _ = x_BTE.shape
        if clips == 0:  # of a batch in which no clip has the modality
            return x_BTE.new_zeros(0, steps, self.spec.width)
        x_BND = zero_invalid(x_BTE, mask_BT).reshape(clips, steps * self.frames, self.spec.width)
        valid_BN = (x_BND != 0).any(-1)
        stretch = min(steps, STRETCH_STEPS) * self.frames
        missing = -x_BND.shape[1] % stretch
        whole_BND = functional.pad(x_BND, (0, 0, 0, missing)).reshape(-1, stretch, self.spec.width)
        whole_BN = functional.pad(valid_BN, (0, missing)).reshape(-1, stretch)
        y_BND = self._layered(whole_BND, whole_BN).reshape(clips, -1, self.spec.width)[:, : x_BND.shape[1]]
        return self._steps(zero_invalid(y_BND, valid_BN), valid_BN)

    def _layered(self, x_BND: Tensor, valid_BN: Tensor) -> Tensor:
        """The mean of the frames and of each layer's output, anything where not valid.

        Only the valid frames are computed, side by side: of short recordings of speech half is silence.
        """
        if torch.compiler.is_compiling():  # shapes must not depend on values
            return self._mean(x_BND, valid_BN)
        most = int(valid_BN.sum(-1).max())
        if most in (0, valid_BN.shape[1]):
            return self._mean(x_BND, valid_BN)
        order_BN = (~valid_BN).byte().sort(dim=-1, stable=True).indices[:, :most]
        order_BND = order_BN.unsqueeze(-1).expand(-1, -1, x_BND.shape[-1])
        mean_BND = self._mean(x_BND.gather(1, order_BND), valid_BN.gather(1, order_BN))
        return torch.zeros_like(x_BND, dtype=mean_BND.dtype).scatter(1, order_BND, mean_BND)

    def _mean(self, x_BND: Tensor, valid_BN: Tensor) -> Tensor:
        attended_BN = valid_BN | ~valid_BN.any(-1, keepdim=True)  # nothing valid: any number will do
        states = [x_BND]
        for layer in self.layers:
            states.append(layer(states[-1], attended_BN))
        return torch.stack(states).mean(0)

    def _steps(self, y_BND: Tensor, valid_BN: Tensor) -> Tensor:
        """(B, N, D), zeros where not valid → (B, T, D), the mean over the frames that overlap each step, by overlap."""
        share_F = y_BND.new_ones(self.frames)
        share_F[0] = 0.5
        clips = len(y_BND)
        y_BTFD = y_BND.reshape(clips, -1, self.frames, self.spec.width)
        valid_BTF = valid_BN.reshape(clips, -1, self.frames).to(y_BND.dtype)
        total_BTD = torch.einsum("btfd,f->btd", y_BTFD, share_F)
        weight_BT = valid_BTF @ share_F
        total_BTD = total_BTD + 0.5 * functional.pad(y_BTFD[:, 1:, 0], (0, 0, 0, 1))
        weight_BT = weight_BT + 0.5 * functional.pad(valid_BTF[:, 1:, 0], (0, 1))
        return total_BTD / weight_BT.clamp(min=0.5).unsqueeze(-1)


def _add_lora(layers: nn.ModuleList, chosen: range, rank: int) -> None:
    """Puts LoRA beside each matrix of some layers, in place; everything else is frozen."""
    from peft import LoraConfig, inject_adapter_in_model

    names = [f"{index}.{matrix}" for index in chosen for matrix in MATRICES]
    config = LoraConfig(r=rank, lora_alpha=ALPHA_PER_RANK * rank, target_modules=names)
    inject_adapter_in_model(config, layers)
