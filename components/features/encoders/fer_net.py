"""mini-XCEPTION (Arriaga, Plöger and Valdenegro 2017, "Real-time CNNs for emotion and gender classification", §3) in
plain torch, filled from a Keras hdf5 file.

Keras pads `same` with stride 2 at the far side only when the size is even, which `MaxPool2d(padding=1)` does not do; so
padding is explicit here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from components.features.encoders.fer import LABELS

BN_EPS = 1e-3
STEM = 8
WIDTHS = (16, 32, 64, 128)


class Separable(nn.Module):
    """Depthwise 3×3, pointwise, batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) → (n, outputs, h, w)."""
        out: Tensor = self.norm(self.pointwise(self.depthwise(x)))
        return out


class Block(nn.Module):
    """Two separable convolutions and a max pool of stride 2, beside a 1×1 convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Separable(inputs, outputs)
        self.second = Separable(outputs, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(outputs, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) → (n, outputs, ceil(h / 2), ceil(w / 2))."""
        main = self.second(functional.relu(self.first(x)))
        # Keras 'same', window 3, stride 2: even sizes are padded by one at the far side, odd ones at both.
        height, width = main.shape[2] % 2, main.shape[3] % 2
        pooled = functional.max_pool2d(functional.pad(main, (width, 1, height, 1), value=float("-inf")), 3, stride=2)
        out: Tensor = pooled + self.shortcut_norm(self.shortcut(x))
        return out


class MiniXception(nn.Module):
    """Grey faces (n, 1, 64, 64) in [−1, 1] → 128 feature maps of 4×4, and the logits of seven expressions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem1 = nn.Conv2d(1, STEM, 3, bias=False)
        self.stem1_norm = nn.BatchNorm2d(STEM, eps=BN_EPS)
        self.stem2 = nn.Conv2d(STEM, STEM, 3, bias=False)
        self.stem2_norm = nn.BatchNorm2d(STEM, eps=BN_EPS)
        self.blocks = nn.ModuleList(
            Block(inputs, outputs) for inputs, outputs in zip((STEM, *WIDTHS[:-1]), WIDTHS, strict=True)
        )
        self.head = nn.Conv2d(WIDTHS[-1], len(LABELS), 3, padding=1)

    def maps(self, x: Tensor) -> Tensor:
        """(n, 1, 64, 64) → (n, 128, 4, 4)."""
        x = functional.relu(self.stem1_norm(self.stem1(x)))
        x = functional.relu(self.stem2_norm(self.stem2(x)))
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, 64, 64) → (features (n, 128) averaged over the map, logits (n, 7) in the order of LABELS)."""
        maps = self.maps(x)
        return maps.mean(dim=(2, 3)), self.head(maps).mean(dim=(2, 3))


def mini_xception(path: Path) -> MiniXception:
    """The network with the weights of a Keras 2 hdf5 file, in evaluation mode."""
    weights = _read_keras(path)
    net = MiniXception()
    _fill_conv(net.stem1, weights["conv2d_1/kernel"])
    _fill_conv(net.stem2, weights["conv2d_2/kernel"])
    _fill_norm(net.stem1_norm, weights, 1)
    _fill_norm(net.stem2_norm, weights, 2)
    for index, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        # Keras numbered a block's shortcut norm first, because it was built first.
        norm = 3 * index + 3
        _fill_conv(block.shortcut, weights[f"conv2d_{index + 3}/kernel"])
        _fill_norm(block.shortcut_norm, weights, norm)
        for offset, part in enumerate((block.first, block.second), start=1):
            name = f"separable_conv2d_{2 * index + offset}"
            depthwise = weights[f"{name}/depthwise_kernel"]  # (3, 3, inputs, 1)
            part.depthwise.weight.data = torch.from_numpy(depthwise.transpose(2, 3, 0, 1).copy())
            _fill_conv(part.pointwise, weights[f"{name}/pointwise_kernel"])
            _fill_norm(part.norm, weights, norm + offset)
    _fill_conv(net.head, weights["conv2d_7/kernel"])
    assert net.head.bias is not None
    net.head.bias.data = torch.from_numpy(weights["conv2d_7/bias"])
    return _folded(net.eval()).requires_grad_(False)


def _folded(net: MiniXception) -> MiniXception:
    """The same network with its norms folded into the convolutions before them and channels last in memory: the same
    numbers to rounding, and four times as fast on a CPU."""
    owners: list[tuple[nn.Module, str, str]] = [(net, "stem1", "stem1_norm"), (net, "stem2", "stem2_norm")]
    for block in net.blocks:
        assert isinstance(block, Block)
        owners.append((block, "shortcut", "shortcut_norm"))
        owners += [(part, "pointwise", "norm") for part in (block.first, block.second)]
    for owner, conv, norm in owners:
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
        setattr(owner, norm, nn.Identity())
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _read_keras(path: Path) -> dict[str, NDArray[np.float32]]:
    """`layer/weight` → array, for every weight of a Keras 2 file."""
    import h5py

    weights: dict[str, NDArray[np.float32]] = {}

    def take(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            layer, _, weight = name.split("/")
            weights[f"{layer}/{weight.removesuffix(':0')}"] = np.asarray(node, dtype=np.float32)

    with h5py.File(path, "r") as file:
        file["model_weights"].visititems(take)
    return weights


def _fill_conv(conv: nn.Conv2d, kernel: NDArray[np.float32]) -> None:
    """Keras keeps (height, width, inputs, outputs)."""
    conv.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())


def _fill_norm(norm: nn.BatchNorm2d, weights: Mapping[str, NDArray[np.float32]], index: int) -> None:
    name = f"batch_normalization_{index}"
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.weight.data = torch.from_numpy(weights[f"{name}/gamma"])
    norm.bias.data = torch.from_numpy(weights[f"{name}/beta"])
    norm.running_mean.data = torch.from_numpy(weights[f"{name}/moving_mean"])
    norm.running_var.data = torch.from_numpy(weights[f"{name}/moving_variance"])
