"""A synthetic task whose answer is known: no modality alone suffices, and order in time matters.

The class of a clip is two bits and an order, over eight classes: face carries bit 0, voice bit 1 (each noisy, each a
direction in feature space that a subject shifts), and text carries a motif A→B or B→A, whose steps have the same
statistics in both orders. Modalities are missing at random, per clip and per step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from components.catalog.cases import Case
from components.contracts.config import Model
from components.contracts.labels import UNLABELLED
from components.model.spec import ModelSpec

WIDTHS = {"face": 12, "text": 6, "voice": 10}
CLASSES = tuple(f"class{index}" for index in range(8))


@dataclass(frozen=True, kw_only=True)
class Toy:
    """How many clips, how long, how noisy."""

    clips: int = 48
    steps: tuple[int, int] = (12, 30)
    noise: float = 1.0
    missing: float = 0.1
    subjects: int = 8
    bits: int = 3
    seed: int = 0

    def items(self, split: str = "train") -> list[Case]:
        """The clips of a split; different splits have different subjects."""
        directions = np.random.default_rng(99)
        axes = {name: directions.standard_normal((2, width)) for name, width in WIDTHS.items()}
        offset = {"train": 0, "calibration": 1, "test": 2}[split]
        rng = np.random.default_rng([self.seed, offset])
        return [self._item(rng, axes, f"toy/{split}/{index:04d}", split, index) for index in range(self.clips)]

    def _item(
        self, rng: np.random.Generator, axes: dict[str, np.ndarray], clip_id: str, split: str, index: int
    ) -> Case:
        label = index % 2**self.bits
        steps = int(rng.integers(self.steps[0], self.steps[1] + 1))
        subject = rng.integers(self.subjects)
        middle = int(rng.integers(steps // 3, max(1, 2 * steps // 3)))
        first = np.arange(steps) < middle
        signs = {
            "face": np.full(steps, 1.0 if label & 1 else -1.0),
            "voice": np.full(steps, 1.0 if label & 2 else -1.0),
            "text": np.where(first, 1.0, -1.0) * (1.0 if label & 4 else -1.0),
        }
        features, masks = {}, {}
        present = rng.random(len(WIDTHS)) >= self.missing
        if not present.any():
            present[0] = True
        for place, (name, width) in enumerate(sorted(WIDTHS.items())):
            values = signs[name][:, None] * axes[name][0] + self.noise * rng.standard_normal((steps, width))
            mask = (rng.random(steps) >= self.missing / 2) & present[place]
            features[name] = np.where(mask[:, None], values, 0).astype(np.float32)
            masks[name] = mask
        return Case(
            clip_id=clip_id,
            dataset="toy",
            subject_id=f"toy/{split}/s{subject}",
            features=features,
            masks=masks,
            step_labels=np.full(steps, label, dtype=np.int64),
            clip_label=label,
            rate_hz=10.0,
            groups={},
        )


def rated(items: list[Case]) -> list[Case]:
    """The clips with valence and arousal: bits 0 and 1 of the class; every fourth clip has none."""
    return [
        item
        if index % 4 == 3
        else replace(
            item, valence_arousal=(0.8 * (item.clip_label & 1) - 0.3, 0.3 * (item.clip_label & 2) - 0.1 * index / 50)
        )
        for index, item in enumerate(items)
    ]


def toy_spec(**fields: object) -> ModelSpec:
    """A small model for the toy, which reads a clip off what it learned over time unless told otherwise."""
    quiet = {"dropout": 0.0, "statistics_dropout": 0.0, "statistics_noise": 0.0, "statistics_mixup": 0.0}
    model = {"width": 24, "heads": 2, "tcn_blocks": 3, "clip_head": "temporal", **quiet, **fields}
    return ModelSpec(modalities=WIDTHS, classes=CLASSES, model=Model.model_validate(model))


__all__ = ["CLASSES", "UNLABELLED", "WIDTHS", "Toy", "rated", "toy_spec"]
