"""Temperature scaling, one temperature a head, fitted on the calibration split only.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2: posterior =
softmax(logits / T), T minimises the negative log-likelihood on held-out people. It never changes which class wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from components.contracts.errors import BundleError

# Outside these the split says "no information" or "always right", which a few clips cannot support.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Temperatures by head: `step`, `clip`, and one for each modality's own posterior. 1 leaves a head as it is.

    `contradiction_threshold` is the contradiction score that few ordinary clips of unseen people reach: beyond it, an
    answer may say in words that the modalities disagree.
    """

    step: float = 1.0
    clip: float = 1.0
    unimodal: Mapping[str, float] = field(default_factory=dict)
    contradiction_threshold: float = 0.5

    def __post_init__(self) -> None:
        for name, value in {"step": self.step, "clip": self.clip, **self.unimodal}.items():
            if not np.isfinite(value) or value <= 0:
                raise BundleError("a temperature must be positive", where=f"calibration.{name}", seen=value)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "step": self.step,
            "clip": self.clip,
            "unimodal": dict(sorted(self.unimodal.items())),
            "contradiction_threshold": self.contradiction_threshold,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """From `to_json`'s value. Raises BundleError when it is none."""
        try:
            unimodal = {str(name): float(number) for name, number in value["unimodal"].items()}
            return cls(
                step=float(value["step"]),
                clip=float(value["clip"]),
                unimodal=unimodal,
                contradiction_threshold=float(value["contradiction_threshold"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError("this is no calibration", where="calibration", seen=str(error)) from error


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """softmax(logits / temperature) over the last axis, in float64."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(-1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """The temperature that minimises the negative log-likelihood.

    Args:
        logits: (N, K), before softmax.
        truth: (N,) class index; < 0 is unlabelled and does not count.

    Returns:
        the temperature within [0.05, 20]; 1 when no item is labelled.
    """
    known = np.nonzero(truth >= 0)[0]
    if not known.size:
        return 1.0
    rows, target = logits[known].astype(np.float64), truth[known]

    def loss(log_temperature: float) -> float:
        scaled = rows / np.exp(log_temperature)
        peak = scaled.max(-1)
        log_sum = peak + np.log(np.exp(scaled - peak[:, None]).sum(-1))
        return float((log_sum - scaled[np.arange(target.size), target]).mean())

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    # The loss is convex in 1 / T, so it has one minimum in log T; a bounded search finds it.
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(round(np.exp(found.x), 6))
