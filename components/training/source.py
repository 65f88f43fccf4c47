"""The transformed clips of a catalog, as every worker loads them for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.catalog.cases import Case, prepare, prepare_to_learn
from components.catalog.examples import load_examples
from components.contracts.layout import Layout
from components.features.transform import Transform

LEARNED = "train"
# The splits of a second training, by those of the first.
REFIT: Mapping[str, tuple[str, ...]] = {LEARNED: ("train", "calibration"), "calibration": ()}


@dataclass(frozen=True, kw_only=True)
class CatalogItems:
    """Split name → its usable clips, by clip id. Holds paths only, so it travels to workers cheaply.

    With `refit` the clips of the calibration split are among those to train on, and none are held out.
    """

    root: Path
    transform: Path
    refit: bool = False

    def __call__(self, split: str) -> list[Case]:
        """Reads the feature stores."""
        splits = REFIT.get(split, (split,)) if self.refit else (split,)
        examples = [example for name in splits for example in load_examples(Layout(self.root), name)]
        examples.sort(key=lambda example: example.clip_id)
        made = prepare_to_learn if split == LEARNED else prepare
        return [case for case in made(examples, Transform.load(self.transform)) if case.usable]
