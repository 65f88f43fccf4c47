"""Temperatures, one per head and number of modalities, and the weights of the ways in which a model reads a clip:
fitted on the calibration split only.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2: posterior =
softmax(logits / T), T minimises the negative log-likelihood on held-out people. It never changes which class wins.

A model that gets only one modality of a clip is far too confident under the temperature of whole clips, so the fused
heads have one temperature for each number of modalities that a clip has. A bias or a scale per class needs more people
than a calibration split has: `docs/benchmarks/synthetic.md` has the figures.

A model that reads a clip in several ways (`ModelOutput.clip_ways`), or the utterances in it (`ModelOutput.step_ways`),
has no weights for them that hold for unseen people; the product of the posteriors of its single modalities is one more
way. The weights of their log-probabilities are fitted on held-out people: stacking (Wolpert, Neural Networks 5, 1992)
of a logarithmic opinion pool (Genest and Zidek, Statistical Science 1, 1986, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import BundleError
from components.inference.contradiction import Rarity
from components.inference.probabilities import log_of_product, log_softmax
from components.inference.together import Combination

# Beyond these a model would have no information or always be right, which a few clips cannot show.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# Weights are tenths: a calibration split is too small to distinguish finer ones.
PARTS = 10
PRODUCT = "product"
# Items whose scores are in memory as float64 at once.
ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A multiple of the classes' log prior, by which answers of one objective become those of the other (Menon et al.
    2021, arXiv 2007.07314, eq. 9): `clip` and `step` (K,) of the heads for clips and for steps, empty for none."""

    clip: tuple[float, ...] = ()
    step: tuple[float, ...] = ()

    def to_json(self) -> dict[str, list[float]]:
        """As a JSON value."""
        return {"clip": list(self.clip), "step": list(self.step)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Shift:
        """From `to_json`'s value; raises KeyError, TypeError or ValueError when it is not one."""
        return cls(**{head: tuple(float(number) for number in value[head]) for head in ("clip", "step")})


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The numbers that turn a model's raw scores into probabilities that can be taken literally.

    Attributes:
        clip_ways: way of reading a clip → its weight; empty where the model has one way, or its own average is kept.
        step_ways: the same of a step, where its version learned from utterances.
        shift: what is added to the scores after their temperature.
        step, clip: temperatures of the two heads, of clips as they were recorded; 1 leaves a head as it is.
        step_by_count, clip_by_count: number of present modalities → the temperature used instead, where it was fitted.
        unimodal, unimodal_step: temperatures of each modality's own heads.
        rarity: the conflict of modalities → how rare it is at the worst moment of ordinary clips.
        contradiction_threshold: the rarity from which on an answer reports a contradiction of modalities.
        together: the combinations of modalities that were trained on; empty for all (`inference/together.py`).
    """

    step: float = 1.0
    clip: float = 1.0
    step_by_count: Mapping[int, float] = field(default_factory=dict)
    clip_by_count: Mapping[int, float] = field(default_factory=dict)
    unimodal: Mapping[str, float] = field(default_factory=dict)
    unimodal_step: Mapping[str, float] = field(default_factory=dict)
    rarity: Rarity = field(default_factory=Rarity)
    contradiction_threshold: float = 0.9
    clip_ways: Mapping[str, float] = field(default_factory=dict)
    step_ways: Mapping[str, float] = field(default_factory=dict)
    shift: Shift = Shift()
    together: tuple[Combination, ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.temperatures().items():
            if not np.isfinite(value) or value <= 0:
                raise BundleError("a temperature must be positive", where=f"calibration.{name}", seen=value)

    def temperatures(self) -> dict[str, float]:
        """Head → temperature: `clip`, `step`, those of each number of modalities, and of each modality's own heads."""
        return {
            "clip": self.clip,
            "step": self.step,
            **{f"clip ({count} present)": value for count, value in sorted(self.clip_by_count.items())},
            **{f"step ({count} present)": value for count, value in sorted(self.step_by_count.items())},
            **{f"clip ({name} alone)": value for name, value in sorted(self.unimodal.items())},
            **{f"step ({name} alone)": value for name, value in sorted(self.unimodal_step.items())},
        }

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "step": self.step,
            "clip": self.clip,
            "step_by_count": {str(count): value for count, value in sorted(self.step_by_count.items())},
            "clip_by_count": {str(count): value for count, value in sorted(self.clip_by_count.items())},
            "unimodal": dict(sorted(self.unimodal.items())),
            "unimodal_step": dict(sorted(self.unimodal_step.items())),
            "rarity": self.rarity.to_json(),
            "contradiction_threshold": self.contradiction_threshold,
            "clip_ways": dict(sorted(self.clip_ways.items())),
            **({"step_ways": dict(sorted(self.step_ways.items()))} if self.step_ways else {}),
            **({"shift": self.shift.to_json()} if self.shift != Shift() else {}),
            **({"together": [list(names) for names in self.together]} if self.together else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """From `to_json`'s value. Raises BundleError when it is not one."""
        try:
            return cls(
                step=float(value["step"]),
                clip=float(value["clip"]),
                step_by_count={int(count): float(number) for count, number in value["step_by_count"].items()},
                clip_by_count={int(count): float(number) for count, number in value["clip_by_count"].items()},
                unimodal={str(name): float(number) for name, number in value["unimodal"].items()},
                unimodal_step={str(name): float(number) for name, number in value["unimodal_step"].items()},
                rarity=Rarity.from_json(value["rarity"]),
                contradiction_threshold=float(value["contradiction_threshold"]),
                clip_ways={str(name): float(number) for name, number in value["clip_ways"].items()},
                step_ways={str(name): float(number) for name, number in value.get("step_ways", {}).items()},
                shift=Shift.from_json(value["shift"]) if "shift" in value else Shift(),
                together=tuple(tuple(str(name) for name in names) for names in value.get("together", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError("not a calibration", where="calibration", seen=str(error)) from error


def mix(ways: Mapping[str, NDArray[np.floating]], weights: Mapping[str, float]) -> NDArray[np.float32]:
    """{way: (…, K)} scores → (…, K): the weighted sum of their log-probabilities."""
    return np.asarray(sum(weight * log_softmax(ways[name]) for name, weight in sorted(weights.items())), np.float32)


def with_product(
    ways: Mapping[str, NDArray[np.floating]],
    unimodal: Mapping[str, NDArray[np.floating]],
    temperatures: Mapping[str, float],
) -> dict[str, NDArray[np.floating]]:
    """The ways of a model, and where it has several, the product of its modalities' calibrated posteriors.

    Args:
        ways: way → (…, K) scores of a model.
        unimodal: modality → (…, K) scores of those that are present, NaN at steps without it; the product is uniform
            where none is.
        temperatures: of the modalities' own heads, 1 where there is none.
    """
    if len(ways) < 2:
        return dict(ways)
    logs = {name: log_softmax(scores / temperatures.get(name, 1.0)) for name, scores in sorted(unimodal.items())}
    uniform = np.zeros_like(next(iter(ways.values())), dtype=np.float64)
    return {**ways, PRODUCT: log_of_product(logs) if logs else uniform}


def fit_ways(
    ways: Mapping[str, NDArray[np.floating]], truth: NDArray[np.int64], shift: Sequence[float] = ()
) -> dict[str, float]:
    """The weights, adding up to 1, whose mixture has the smallest negative log-likelihood under its best temperature.

    Args:
        ways: way → (N, K) scores before softmax.
        truth: (N,) class index; < 0 is unlabelled and does not count.
        shift: (K,) added to the scores after their temperature; empty for none.

    Returns:
        way → weight; among equals the most even. Empty unless there are two ways and a labelled item.
    """
    labelled = truth >= 0
    if len(ways) < 2 or not labelled.any():
        return {}
    names, target = sorted(ways), truth[labelled]
    rows = [log_softmax(ways[name][labelled]) for name in names]

    def loss(parts: tuple[int, ...]) -> tuple[float, int]:
        mixed = np.asarray(sum(part / PARTS * row for part, row in zip(parts, rows, strict=True)))
        scaled = mixed / fit_temperature(mixed, target, shift)
        scaled = log_softmax(scaled + np.asarray(shift) if len(shift) else scaled)
        unlikely = -np.take_along_axis(scaled, target[:, None], -1).mean()
        return round(float(unlikely), 6), sum(part**2 for part in parts)

    shares = (parts for parts in product(range(PARTS + 1), repeat=len(names)) if sum(parts) == PARTS)
    best = min(shares, key=loss)
    return {name: part / PARTS for name, part in zip(names, best, strict=True)}


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.int64], shift: Sequence[float] = ()) -> float:
    """The temperature that minimises the negative log-likelihood.

    Args:
        logits: (N, K), before softmax.
        truth: (N,) class index; < 0 is unlabelled and does not count.
        shift: (K,) added to the scores after their temperature; empty for none.

    Returns:
        the temperature within [0.05, 20]; 1 when no item is labelled.
    """
    labelled = np.nonzero(truth >= 0)[0]
    if not labelled.size:
        return 1.0
    surprise = np.empty(labelled.size)

    def loss(log_temperature: float) -> float:
        for first in range(0, labelled.size, ROWS_AT_ONCE):
            some = labelled[first : first + ROWS_AT_ONCE]
            scaled = logits[some].astype(np.float64) / np.exp(log_temperature)
            if len(shift):
                scaled = scaled + np.asarray(shift)
            peak = scaled.max(-1)
            log_sum = peak + np.log(np.exp(scaled - peak[:, None]).sum(-1))
            surprise[first : first + some.size] = log_sum - scaled[np.arange(some.size), truth[some]]
        return float(surprise.mean())

    from scipy.optimize import minimize_scalar  # a second of imports, for fitting alone

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    # The loss is convex in 1 / T, so it has one minimum in log T; a bounded search finds it.
    optimum = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(round(np.exp(optimum.x), 6))
