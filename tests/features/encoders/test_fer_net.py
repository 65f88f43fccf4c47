from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from components.features.encoders.fer import LABELS
from components.features.encoders.fer_net import MiniXception, mini_xception
from components.runtime.weights import weight_file


@pytest.fixture(scope="module")
def net() -> MiniXception:
    return mini_xception(weight_file("fer"))


class Keras:
    """The network as Keras defines it, straight from the file, in numpy: an independent reference, one picture at a
    time, channels last."""

    def __init__(self) -> None:
        self.weights: dict[str, np.ndarray] = {}
        with h5py.File(weight_file("fer")) as file:
            file["model_weights"].visititems(self._take)

    def _take(self, name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            layer, _, weight = name.split("/")
            self.weights[f"{layer}/{weight[:-2]}"] = np.asarray(node, dtype=np.float64)

    def norm(self, x: np.ndarray, index: int) -> np.ndarray:
        gamma, beta, mean, variance = (
            self.weights[f"batch_normalization_{index}/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    @staticmethod
    def conv(x: np.ndarray, kernel: np.ndarray, mode: str) -> np.ndarray:
        return np.stack(
            [
                sum(correlate2d(x[:, :, i], kernel[:, :, i, o], mode=mode) for i in range(x.shape[2]))
                for o in range(kernel.shape[3])
            ],
            axis=2,
        )

    def separable(self, x: np.ndarray, index: int) -> np.ndarray:
        depth = self.weights[f"separable_conv2d_{index}/depthwise_kernel"][..., 0]
        each = np.stack([correlate2d(x[:, :, i], depth[:, :, i], mode="same") for i in range(x.shape[2])], axis=2)
        return each @ self.weights[f"separable_conv2d_{index}/pointwise_kernel"][0, 0]

    @staticmethod
    def pool(x: np.ndarray) -> np.ndarray:
        """Keras 'same', 3×3, stride 2: the padding's total is (ceil(n/2) − 1)·2 + 3 − n, its smaller half in front."""
        size = x.shape[0]
        out = -(-size // 2)
        total = max((out - 1) * 2 + 3 - size, 0)
        edge = (total // 2, total - total // 2)
        padded = np.pad(x, (edge, edge, (0, 0)), constant_values=-np.inf)
        return np.array(
            [[padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3].max(axis=(0, 1)) for c in range(out)] for r in range(out)]
        )

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = picture[:, :, None]
        for index in (1, 2):
            x = np.maximum(self.norm(self.conv(x, self.weights[f"conv2d_{index}/kernel"], "valid"), index), 0)
        for block in range(4):
            first = 3 * block + 3
            side = self.norm(x[::2, ::2] @ self.weights[f"conv2d_{block + 3}/kernel"][0, 0], first)
            main = np.maximum(self.norm(self.separable(x, 2 * block + 1), first + 1), 0)
            x = self.pool(self.norm(self.separable(main, 2 * block + 2), first + 2)) + side
        logits = self.conv(x, self.weights["conv2d_7/kernel"], "same") + self.weights["conv2d_7/bias"]
        return x.mean(axis=(0, 1)), logits.mean(axis=(0, 1))


def test_equals_the_network_as_keras_defines_it(net: MiniXception) -> None:
    rng = np.random.default_rng(0)
    picture = np.clip(np.cumsum(np.cumsum(rng.standard_normal((64, 64)), 0), 1) / 100, -1, 1)
    features, logits = Keras()(picture)
    with torch.inference_mode():
        own_features, own_logits = net(torch.from_numpy(picture.astype(np.float32))[None, None])
    np.testing.assert_allclose(own_features[0].numpy(), features, atol=1e-4)
    np.testing.assert_allclose(own_logits[0].numpy(), logits, atol=1e-4)
    assert logits.shape == (len(LABELS),)


def test_sizes(net: MiniXception) -> None:
    with torch.inference_mode():
        assert net.maps(torch.zeros(2, 1, 64, 64)).shape == (2, 128, 4, 4)
    assert not net.training
